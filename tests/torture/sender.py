"""Send batches of known content for ever, or up to a target, and write every receipt down.

The order (JSON) names gateway and sensors. What was receipted stands in
``<folder>/<name>.receipts``, one line a batch, synced before the next batch is sent; a
killed sender goes on after the last line, so it repeats what it had no receipt for.
``deaf`` sends ahead without writing anything down: as if no answer had come.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from torture_content import make_batch

from teiten.foundation.clock import SystemClock
from teiten.protocol import enrolment
from teiten.sensor import enrol
from teiten.sensor.connection import address_of
from teiten.sensor.errors import BusyError, ClockSkewError, UplinkError
from teiten.sensor.spool import Spool, SpoolLimits
from teiten.sensor.state import GatewaySettings, Identity, StateFolder, parse_gateway_keys
from teiten.sensor.uplink import Uplink

CLOCK = SystemClock()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=("enrol", "send", "deaf", "fill"))
    parser.add_argument("order", type=Path)
    parser.add_argument("--names", nargs="*")
    options = parser.parse_args()
    order = json.loads(options.order.read_text())
    chosen = [one for one in order["sensors"] if not options.names or one["name"] in options.names]
    work = {"enrol": join, "send": send, "deaf": send_deaf, "fill": fill_spool}[options.mode]
    threads = [threading.Thread(target=run, args=(work, order, one)) for one in chosen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 0


def run(work: Any, order: dict[str, Any], sensor: dict[str, Any]) -> None:
    try:
        work(order, sensor)
    except BaseException:  # noqa: BLE001  # whatever it is, the harness must see it
        import traceback

        traceback.print_exc()
        os._exit(3)


def join(order: dict[str, Any], sensor: dict[str, Any]) -> Identity:
    """Give the sensor's identity; enrol at first, however often that takes."""
    state = state_of(order, sensor)
    while not state.is_enrolled():
        with tolerating():
            enrol.enrol_sensor(
                state,
                enrolment.parse_token(sensor["token"]),
                enrol.Reception(
                    gateway_of(order), parse_gateway_keys(tuple(order["gateway_keys"])), CLOCK, 5.0
                ),
            )
    return state.load_identity()


def send(order: dict[str, Any], sensor: dict[str, Any]) -> None:
    identity = join(order, sensor)
    path = Path(order["folder"]) / f"{sensor['name']}.receipts"
    seq = repair_journal(path) + 1
    with open_uplink(order, identity) as uplink, path.open("a", encoding="utf-8") as journal:
        while not is_done(order, sensor, seq):
            sealed = make_batch(identity.sealing, seq, base_us=order["base_us"], dataset=sensor["dataset"])
            with tolerating(uplink):
                receipt = uplink.send(sealed)
                line = [
                    receipt.sensor,
                    receipt.epoch,
                    receipt.seq,
                    receipt.digest.hex(),
                    receipt.landed_at_us,
                ]
                journal.write(json.dumps(line) + "\n")
                journal.flush()
                os.fsync(journal.fileno())
                seq += 1
                time.sleep(order["pause_seconds"])


def send_deaf(order: dict[str, Any], sensor: dict[str, Any]) -> None:
    """Send on and on from where the receipts end, without taking note of any answer."""
    identity = join(order, sensor)
    path = Path(order["folder"]) / f"{sensor['name']}.receipts"
    first = repair_journal(path) + 1
    with open_uplink(order, identity) as uplink:
        for seq in range(first, first + order["deaf_batches"]):
            sealed = make_batch(identity.sealing, seq, base_us=order["base_us"], dataset=sensor["dataset"])
            with tolerating(uplink):
                uplink.send(sealed)


def fill_spool(order: dict[str, Any], sensor: dict[str, Any]) -> None:
    """Be the recording process: seal into the spool, and write down what is safely there."""
    identity = join(order, sensor)
    state = state_of(order, sensor)
    state.lock()
    spool = Spool(state.path, epoch=identity.sealing.epoch, limits=SpoolLimits(1 << 30))
    path = Path(order["folder"]) / f"{sensor['name']}.spooled"
    repair_journal(path)
    with path.open("a", encoding="utf-8") as journal:
        while not is_done(order, sensor, spool.next_seq):
            sealed = spool.add(
                lambda seq, lost: make_batch(
                    identity.sealing, seq, base_us=order["base_us"], dataset=sensor["dataset"], lost=lost
                )
            )
            journal.write(
                json.dumps([sealed.sensor, sealed.epoch, sealed.seq, sealed.digest.hex(), 0]) + "\n"
            )
            journal.flush()
            spool.sweep()
            time.sleep(order["pause_seconds"])
    spool.close()


def repair_journal(path: Path) -> int:
    """Cut a torn last line off and give the last number."""
    if not path.exists():
        return 0
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        path.write_bytes(whole)
    lines = whole.splitlines()
    return int(json.loads(lines[-1])[2]) if lines else 0


def is_done(order: dict[str, Any], sensor: dict[str, Any], seq: int) -> bool:
    target = Path(order["folder"]) / f"{sensor['name']}.target"
    return target.exists() and seq > int(target.read_text() or "0")


@contextlib.contextmanager
def tolerating(uplink: Uplink | None = None) -> Any:
    """Bear what an outage brings; what says that a batch is lost or doubled ends the sender."""
    try:
        yield
    except ClockSkewError as error:
        if uplink is not None:
            uplink.clock_offset_us = error.offset_us
    except BusyError as error:
        time.sleep(min(error.retry_after_seconds, 1.0))
    except UplinkError as error:
        if type(error) is not UplinkError and type(error).__name__ != "UnreachableError":
            raise
        time.sleep(0.1)


def state_of(order: dict[str, Any], sensor: dict[str, Any]) -> StateFolder:
    return StateFolder(Path(order["folder"]) / sensor["name"])


def gateway_of(order: dict[str, Any]) -> GatewaySettings:
    return GatewaySettings(order["gateway_url"], order["authority"], tuple(order["pins"]))


def open_uplink(order: dict[str, Any], identity: Identity) -> Uplink:
    address = address_of(gateway_of(order), timeout_seconds=5.0)
    return Uplink(address, CLOCK, identity=identity.sealing, gateway_keys=identity.gateway_keys)


if __name__ == "__main__":
    sys.exit(main())
