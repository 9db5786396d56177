"""Parts that a full disk left broken: set aside, so that the insert which made them can be repeated.

ClickHouse may keep a part of a failed insert whose files it could not finish ("Empty
marks file", seen with 26.9 on a full disk). Every question that reads such a part fails,
until the server starts anew and finds it. Only parts of one insert are looked at: a merged
one holds rows of finished blocks, and is nobody's to take away without being asked.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from teiten.store import metrics
from teiten.store.connections import quote_identifier
from teiten.store.errors import BadQuery
from teiten.store.statements import StatementRunner

_log = logging.getLogger(__name__)
#: A server's clock may go behind ours by this much.
_MARGIN = timedelta(minutes=5)


def set_aside_broken(store: StatementRunner, *, since: datetime) -> int:
    """Detach the parts of single inserts made since an instant that ClickHouse's own check refuses.

    Their files stay in the tables' folders ``detached``. Gives how many there were.

    Raises:
        StoreError: when the store does not answer.
    """
    fresh = store.query("fresh_parts", {"since": since - _MARGIN}, role="maintenance").to_pylist()
    broken = [(part, fault) for part in fresh if (fault := _find_fault(store, part["table"], part["name"]))]
    for part, fault in broken:
        table = quote_identifier(part["table"])
        store.command(f"ALTER TABLE {table} DETACH PART '{part['name']}'", role="maintenance")
        metrics.BROKEN_PARTS.labels(part["table"]).inc()
        _log.error(
            "A part that was not written whole is set aside; see what is missing with `teiten store check`",
            extra={"table": part["table"], "part": part["name"], "rows": part["rows"], "reason": fault},
        )
    return len(broken)


def _find_fault(store: StatementRunner, table: str, part: str) -> str:
    """Say what ClickHouse finds wrong with a part; empty when it is whole, or merged away meanwhile."""
    sql = f"CHECK TABLE {quote_identifier(table)} PART '{part}' SETTINGS check_query_single_value_result = 0"
    try:
        found = store.select(sql, role="maintenance").to_pylist()
    except BadQuery as error:
        if "NO_SUCH_DATA_PART" in str(error):
            return ""
        raise
    return next((str(row["message"])[:500] or "broken" for row in found if not row["is_passed"]), "")
