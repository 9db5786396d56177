"""Errors of the store.

StoreError
├── StoreUnavailable     the store does not answer or has no room: wait and try again
├── LimitExceeded        a query took too much time or memory: the asker must narrow it
├── BadQuery             the store refused a statement: a bug, or a schema that does not fit
├── StoreMismatch        data and program do not fit (zone, schema, version): stop the start
├── RebuildRefused       roll-ups cannot be made again, because raw rows are gone
├── DayHeld              a legal hold forbids to remove anything of a day
└── ChangeRefused        an exclusion or erasure that makes no sense: reversed, over-broad, about nothing
"""

from teiten.foundation.errors import TeitenError


class StoreError(TeitenError):
    """The observation store could not do what was asked."""


class StoreUnavailable(StoreError):
    """The store does not answer, is owned by another process, or has no room; try again later."""


class LimitExceeded(StoreError):
    """The query needs more time or memory than its role may use; narrow it."""


class BadQuery(StoreError):
    """The store refused the statement."""


class StoreMismatch(StoreError):
    """What is stored does not fit this program or its settings."""


class RebuildRefused(StoreError):
    """A roll-up cannot be made again from raw rows, since some of them were removed."""


class DayHeld(StoreError):
    """A day is under a legal hold; nothing of it may be removed."""


class ChangeRefused(StoreError):
    """What was asked of stored rows cannot be meant; nothing was changed."""
