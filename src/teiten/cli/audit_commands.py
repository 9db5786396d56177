"""``teiten audit …``: check the chain, print its head, give it away."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from teiten.cli.audit_doors import AuditHeads, read_heads
from teiten.cli.errors import CliError
from teiten.cli.installation import Installation
from teiten.foundation.settings import Source


def verify(source: Source, options: argparse.Namespace) -> int:
    """Check every record and every head, and say what was found; 1 when the chain is broken."""
    if options.first < 1:
        raise CliError(f"--from must be the number of a record, not {options.first}")
    with Installation(source) as installation:
        installation.start_django()
        from teiten.accounts.auditing import verify_chain

        kept = AuditHeads(installation.audit_dir)
        expected = _read_key(options.key) or kept.public_key
        known = [
            *kept.read(),
            *(head for path in options.heads for head in read_heads(path, public_key=expected)),
        ]
        found = verify_chain(first=options.first, heads=known)
    print(
        f"{found.records} records looked at, the last one is {found.last}; {len(known)} signed heads compared"
    )
    if found.broken is not None:
        print(f"the chain is BROKEN at {found.broken}", file=sys.stderr)
        return 1
    print("the chain holds")
    return 0


def print_head(source: Source, _options: argparse.Namespace) -> int:
    """Print one line of JSON."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.accounts import audit

        head = audit.read_head(at=installation.clock.now())
        print(AuditHeads(installation.audit_dir).sign(head).to_line())
    return 0


def export(source: Source, options: argparse.Namespace) -> int:
    """Write records, a line each."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.accounts.auditing import export_lines

        lines = export_lines(first=max(1, options.first), last=options.last)
        if options.output is None:
            sys.stdout.writelines(line + "\n" for line in lines)
        else:
            print(f"{_write(options.output, lines)} records written to {options.output}")
    return 0


def _write(path: Path, lines: Iterable[str]) -> int:
    count = 0
    try:
        with path.open("x", encoding="ascii") as file:
            for count, line in enumerate(lines, start=1):  # noqa: B007  # it is the count of lines
                file.write(line + "\n")
    except OSError as error:
        raise CliError(f"{path} cannot be written: {error.strerror}") from error
    return count


def _read_key(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise CliError("--key must be 64 hexadecimal digits, as `teiten audit head` shows them")
    return key
