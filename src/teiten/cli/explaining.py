"""What went wrong outside of Teiten (disk, owner, database), in words that say what helps.

A fault of Teiten's own is not explained here: its traceback is what somebody needs to mend it.
"""

from __future__ import annotations

from typing import Any

#: SQLSTATE of PostgreSQL: what this version asks for is not there.
_LACKING = frozenset({"42P01", "42703", "3F000", "42883"})
_FULL, _FORBIDDEN, _READ_ONLY = "53100", "42501", "25006"
#: Nobody answers, or what answers stops, starts or takes no more.
_AWAY = ("OperationalError", "InterfaceError", "PoolTimeout", "PoolClosed", "TooManyRequests")


def explain(error: BaseException) -> str | None:
    """Say what an error from outside means; None when it is none of those."""
    if isinstance(error, EOFError):
        return "nobody could be asked: the input has ended. Do it at a terminal, or say --yes where the verb takes it"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}{_tell_owner(error)}"
    if type(error).__module__.partition(".")[0] in ("django", "psycopg", "psycopg_pool"):
        return _explain_database(error)
    return None


def _tell_owner(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return " (run this as the user whom Teiten runs as)"
    return ""


def _explain_database(error: BaseException) -> str | None:
    cause: Any = error.__cause__ or error
    state = getattr(cause, "sqlstate", None)
    told = next(iter(str(error).strip().splitlines()), type(error).__name__)
    if state in _LACKING:
        return f"the control database lacks what this version needs ({told}); run `teiten migrate` first"
    if state == _FULL:
        return f"the control database has no room left ({told}); make room, then do it again: nothing was changed"
    if state in (_FORBIDDEN, _READ_ONLY):
        return f"the control database refuses to be changed ({told}); look at database.url and its rights"
    if type(error).__name__ in _AWAY or type(cause).__name__ in _AWAY:
        return (
            f"the control database does not answer ({told}); is PostgreSQL running? `teiten doctor` looks. "
            "Do it again then: what was not finished was not begun"
        )
    if "connection info string" in told:
        return f"database.url cannot be read: {told}"
    return None
