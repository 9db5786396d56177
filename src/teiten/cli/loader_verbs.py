"""``teiten loader quarantined`` and ``requeue``: look after what did not verify."""

from __future__ import annotations

import argparse
import contextlib

from teiten.cli import printing
from teiten.cli.installation import Installation
from teiten.foundation.settings import Source
from teiten.landing.blocks import BlockLedger, Selector


def list_quarantined(source: Source, options: argparse.Namespace) -> int:
    """Print quarantined batches, newest first."""
    with Installation(source) as installation, contextlib.closing(_ledger(installation)) as ledger:
        found = ledger.quarantined(options.limit)
    printing.print_table(
        ("sensor", "epoch", "sequence", "landed", "bytes", "code", "reason"),
        [
            (
                one.sensor,
                one.epoch,
                one.seq,
                printing.instant(one.landed_at),
                one.size_bytes,
                one.code,
                one.message,
            )
            for one in found
        ],
    )
    return 0


def requeue(source: Source, options: argparse.Namespace) -> int:
    """Give quarantined batches to the loader again; it verifies them anew."""
    with Installation(source) as installation, contextlib.closing(_ledger(installation)) as ledger:
        count = ledger.requeue(Selector(sensor=options.sensor, code=options.reason))
    print(f"{count} batches will be verified again")
    return 0


def _ledger(installation: Installation) -> BlockLedger:
    return BlockLedger(installation.landing_config, installation.database_url, installation.clock)
