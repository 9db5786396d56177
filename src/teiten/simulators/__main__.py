"""Make simulated traffic by hand: ``python -m teiten.simulators capture|send|places …``."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

from teiten.foundation.clock import SystemClock, to_us
from teiten.foundation.errors import TeitenError
from teiten.simulators import captures, places, wire
from teiten.simulators.config import TelescopeConfig
from teiten.simulators.population import DAY_US
from teiten.simulators.telescope import Outlook, Telescope, Traffic

#: Whole packets: captures and interfaces want no cut ones.
_WHOLE_BYTES = 1500


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _make_parser().parse_args(arguments)
    try:
        text = chosen.run(chosen)
    except (TeitenError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{text}\n")
    return 0


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m teiten.simulators", description=__doc__)
    verbs = parser.add_subparsers(required=True)
    capture = verbs.add_parser("capture", help="write packets to a pcap file")
    capture.add_argument("file", type=Path)
    capture.add_argument("--link", choices=["raw", "ethernet"], default="raw")
    capture.set_defaults(run=_run_capture)
    send = verbs.add_parser("send", help="send packets onto loopback, a veth or a dummy interface (root)")
    send.add_argument("interface")
    send.add_argument("--packets-per-second", type=float, default=1000.0)
    send.set_defaults(run=_run_send)
    for verb in (capture, send):
        verb.add_argument("--packets", type=int, default=10_000)
        verb.add_argument("--observed", action="append", help="documentation prefix; may be repeated")
        verb.add_argument("--seed", type=int, default=TelescopeConfig.seed)
        verb.add_argument(
            "--from", dest="start", type=_read_day, help="first day, YYYY-MM-DD, UTC; default today"
        )
    files = verbs.add_parser("places", help="write simulated.mmdb and survey_list.csv of the simulated world")
    files.add_argument("folder", type=Path)
    files.add_argument("--anchor", type=_read_day, help="day from which new scanners count; default today")
    files.set_defaults(run=_run_places)
    return parser


def _run_capture(chosen: argparse.Namespace) -> str:
    count = captures.write_capture(chosen.file, _make_traffic(chosen), chosen.link)
    return f"{count} packets written to {chosen.file}"


def _run_send(chosen: argparse.Namespace) -> str:
    sent = wire.send_traffic(
        chosen.interface, _make_traffic(chosen), packets_per_second=chosen.packets_per_second
    )
    return f"{sent} packets sent on {chosen.interface}"


def _run_places(chosen: argparse.Namespace) -> str:
    chosen.folder.mkdir(parents=True, exist_ok=True)
    prefixes = places.write_database(chosen.folder / "simulated.mmdb")
    listed = places.write_survey_list(
        chosen.folder / "survey_list.csv", anchor_us=chosen.anchor or _today_us()
    )
    return f"{prefixes} prefixes and {listed} survey entries written to {chosen.folder}"


def _make_traffic(chosen: argparse.Namespace) -> Iterator[Traffic]:
    """Give exactly as many packets as asked for, day after day."""
    start_us = chosen.start or _today_us()
    telescope = Telescope(TelescopeConfig(seed=chosen.seed, anchor_us=start_us, snap_bytes=_WHOLE_BYTES))
    outlook = Outlook("capture", tuple(chosen.observed or ["192.0.2.1/32"]))
    left = chosen.packets
    for day in itertools.count():
        part = telescope.make_unit(outlook, start_us + day * DAY_US).take(slice(left))
        left -= len(part)
        yield part
        if left <= 0:
            return


def _read_day(text: str) -> int:
    return to_us(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=timezone.utc))


def _today_us() -> int:
    return SystemClock().now_us() // DAY_US * DAY_US


if __name__ == "__main__":
    sys.exit(main())
