"""The root of every error that Teiten raises on purpose.

Each room has one base class in its own ``errors.py``, derived from
:class:`TeitenError`, and below it one class per decision that a caller makes
(retry, reject, alert). Anything else that escapes is a bug.

    TeitenError
    ├── SettingsError          foundation.settings: fix the configuration
    └── <Room>Error            one per room
"""


class TeitenError(Exception):
    """Something went wrong that the message names: the thing, the rule, the way out."""


class SettingsError(TeitenError):
    """A setting is unknown, missing or of the wrong type; nothing was started."""
