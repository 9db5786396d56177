"""``teiten-sensor``: run, record, upload, enrol, status, replay."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Sequence

from teiten.foundation import logs
from teiten.foundation.clock import SystemClock
from teiten.foundation.errors import TeitenError
from teiten.foundation.showing import show_plain
from teiten.sensor.arguments import build_config, make_parser
from teiten.sensor.config import SensorConfig
from teiten.sensor.obeying.log_file import keep_log
from teiten.sensor.state import StateFolder

_FAILED = 1
#: Verbs whose log is kept beside the state, for operators who ask for its last lines.
_LOGGED = ("run", "record", "upload")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; give the exit status: 0 done, 1 failed with a line that says why, 2 wrong usage."""
    words = list(sys.argv[1:] if argv is None else argv)
    options = make_parser().parse_args(words)
    logs.set_up()
    try:
        config = build_config(options)
        if options.verb in _LOGGED:
            keep_log(config.state_dir, options.verb)
        return _VERBS[options.verb](options, config, words)
    except TeitenError as error:
        # A gateway's own words may be in it, or those of whoever stands between.
        print("teiten-sensor:", show_plain(str(error), kept="\n"), file=sys.stderr)
        return _FAILED
    except KeyboardInterrupt:
        return 130


def _run(options: argparse.Namespace, config: SensorConfig, words: Sequence[str]) -> int:
    del options
    from teiten.sensor.running import run_sensor

    return run_sensor(config, words, _stop_on_signals())


def _record(options: argparse.Namespace, config: SensorConfig, words: Sequence[str]) -> int:
    del options, words
    from teiten.sensor.recording import Recording

    stop = _stop_on_signals()
    Recording(config, StateFolder(config.state_dir), SystemClock()).run(stop)
    return 0


def _upload(options: argparse.Namespace, config: SensorConfig, words: Sequence[str]) -> int:
    del words
    from teiten.sensor.sending import Sending, stop_with_parent

    stop = _stop_on_signals()
    if options.supervised:
        stop_with_parent(stop)
    state = StateFolder(config.state_dir)
    Sending(config, state, SystemClock(), is_supervised=options.supervised).run(stop)
    return 0


def _enrol(options: argparse.Namespace, config: SensorConfig, words: Sequence[str]) -> int:
    del words
    from teiten.sensor import enrol
    from teiten.sensor.state import GatewaySettings, choose_gateway, parse_gateway_keys

    state = StateFolder(config.state_dir)
    state.check_owner()
    if state.is_enrolled():
        sealing = state.load_identity().sealing
        print(
            f"{state.path} is already enrolled as sensor {sealing.sensor}; use another --state-dir for a new one"
        )
        return _FAILED
    answer = enrol.enrol_sensor(
        state,
        enrol.read_token(options.token_file),
        enrol.Reception(
            choose_gateway(config, GatewaySettings()),
            parse_gateway_keys(config.gateway_keys),
            SystemClock(),
            config.timeout_seconds,
        ),
    )
    enrol.remove_token(options.token_file)
    print(f"enrolled as sensor {answer.sensor}, key {answer.key_no}, epoch {answer.epoch}, in {state.path}")
    if answer.standing is not None:
        print(
            f"it is {answer.standing.replace('_', ' ')}: start it now; what it records is kept until it is let in"
        )
    return 0


def _recover(options: argparse.Namespace, config: SensorConfig, words: Sequence[str]) -> int:
    del words
    from teiten.protocol.enrolment import RECOVER_PREFIX
    from teiten.sensor import enrol
    from teiten.sensor.state import GatewaySettings, choose_gateway, choose_gateway_keys

    state = StateFolder(config.state_dir)
    state.check_owner()
    before = state.load_identity() if state.is_enrolled() else None
    answer = enrol.recover_sensor(
        state,
        enrol.read_token(options.token_file, prefix=RECOVER_PREFIX),
        enrol.Reception(
            choose_gateway(config, before.gateway if before else GatewaySettings()),
            choose_gateway_keys(config, before.gateway_keys if before else {}),
            SystemClock(),
            config.timeout_seconds,
        ),
    )
    enrol.remove_token(options.token_file)
    if answer is None:
        print(f"{state.path} has been recovered with this token already")
        return 0
    print(f"recovered as sensor {answer.sensor}, key {answer.key_no}, epoch {answer.epoch}, in {state.path}")
    return 0


def _status(options: argparse.Namespace, config: SensorConfig, words: Sequence[str]) -> int:
    del words
    from teiten.sensor.status import collect_status, format_status, is_healthy

    status = collect_status(StateFolder(config.state_dir), SystemClock())
    print(json.dumps(status) if options.json else format_status(status))
    return 0 if is_healthy(status) else _FAILED


def _replay(options: argparse.Namespace, config: SensorConfig, words: Sequence[str]) -> int:
    del words
    from teiten.sensor.replaying import run_replay

    outcome = run_replay(options, config, SystemClock())
    for text in outcome.lines:
        print(text)
    for text in outcome.problems:
        print(f"teiten-sensor: {text}", file=sys.stderr)
    return _FAILED if outcome.problems else 0


def _obey(options: argparse.Namespace, config: SensorConfig, words: Sequence[str]) -> int:
    del words
    from teiten.sensor.obeying.building import build_root_helper, read_offset_us

    state = StateFolder(config.state_dir)
    helper = build_root_helper(config, state, SystemClock())
    try:
        offset_us = read_offset_us(state)
        if options.request is None:
            helper.obey_all(offset_us=offset_us)
        else:
            helper.obey(options.request, offset_us=offset_us)
    finally:
        helper.close()
    return 0


def _audit(options: argparse.Namespace, config: SensorConfig, words: Sequence[str]) -> int:
    del words
    from teiten.sensor.chain import FILE_NAME
    from teiten.sensor.obeying.auditing import format_records, verify

    path = options.file or config.state_dir / FILE_NAME
    for line in format_records(path) if options.what == "show" else verify(path, head=options.head):
        print(line)
    return 0


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


_VERBS = {
    "run": _run,
    "record": _record,
    "upload": _upload,
    "enrol": _enrol,
    "recover": _recover,
    "status": _status,
    "replay": _replay,
    "obey": _obey,
    "audit": _audit,
}


if __name__ == "__main__":
    sys.exit(main())
