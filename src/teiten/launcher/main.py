"""``teiten-launcher``: fetches, tries and rolls back releases of the sensor program.

Exit codes: 0 done; 1 not done, the message says why; 2 wrong words or settings; 130 interrupted.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from teiten.foundation import logs, settings
from teiten.foundation.errors import SettingsError, TeitenError
from teiten.launcher.config import LauncherConfig
from teiten.launcher.errors import LauncherBusyError, LauncherError
from teiten.launcher.flipping import Bench
from teiten.launcher.machine import Machine
from teiten.launcher.places import Places
from teiten.launcher.releases import ReleaseShelf
from teiten.launcher.restarting import Systemctl

_SECTION = "launcher"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and give the exit status."""
    options = _make_parser().parse_args(argv)
    logs.set_up()
    try:
        return int(options.verb(options))
    except SettingsError as error:
        _say(f"teiten-launcher: {error}", sys.stderr)
        return 2
    except TeitenError as error:
        _say(f"teiten-launcher: {error}", sys.stderr)
        return 1
    except OSError as error:
        way_out = "; run it as root" if isinstance(error, PermissionError) else ""
        _say(f"teiten-launcher: {error.filename or 'a file'}: {error.strerror or error}{way_out}", sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="teiten-launcher", description="Releases of the sensor's program.")
    parser.add_argument("--root", type=Path, default=Path("/"), help="prefix of all folders (images, tests)")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, verb, text in (
        ("update", _update, "look for a newer signed release and put it on probation"),
        ("commit-check", _check, "judge the release on probation: keep it, wait, or roll it back"),
        ("apply", _apply, "take signed settings (operators.json, gateway.json) only"),
        ("status", _status, "say which releases are here and how updates stand"),
    ):
        verbs.add_parser(name, help=text, description=text).set_defaults(verb=verb)
    install = verbs.add_parser("install", help="unpack a bundle of this host's own package and use it")
    install.add_argument("bundle", type=Path)
    install.set_defaults(verb=_install)
    run = verbs.add_parser("run", help="become the program of the release in use")
    run.add_argument("role", choices=("capture", "upload", "obey"))
    run.add_argument("words", nargs=argparse.REMAINDER, help="further words for teiten-sensor")
    run.set_defaults(verb=_run)
    return parser


def load_config(places: Places) -> LauncherConfig:
    """Read the launcher's settings.

    Raises:
        SettingsError: naming what is wrong.
    """
    path = places.settings / "launcher.toml"
    # The environment is not asked: this may be root's process, and units name no variables.
    source = settings.load(path if path.exists() else None, {})
    source.check_sections({_SECTION: LauncherConfig})
    return source.section(_SECTION, LauncherConfig)


@contextmanager
def hold_lock(places: Places) -> Iterator[None]:
    """Keep other launchers out.

    Raises:
        LauncherBusyError: when one is at work.
    """
    # The sensor's user reads releases and reports; a unit's mask must not keep it from that.
    os.umask(0o022)
    places.own.mkdir(mode=0o755, parents=True, exist_ok=True)
    descriptor = os.open(places.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise LauncherBusyError("another launcher is at work; nothing was done") from error
    try:
        yield
    finally:
        os.close(descriptor)


def _bench(options: argparse.Namespace, config: LauncherConfig) -> Bench:
    return Bench(Places(options.root), Machine(), Systemctl(config.units))


def _update(options: argparse.Namespace) -> int:
    # Trust is heavy to load; a start of the sensor must not pay for it.
    from teiten.launcher.updating import update

    places = Places(options.root)
    config = load_config(places).check()
    with hold_lock(places):
        outcome = update(_bench(options, config), config)
    _say(f"release {outcome.release} is on probation" if outcome.release else "no newer release to take")
    return 0


def _apply(options: argparse.Namespace) -> int:
    from teiten.launcher.updating import apply_only

    places = Places(options.root)
    config = load_config(places).check()
    with hold_lock(places):
        changed = apply_only(_bench(options, config), config)
    _say(f"in force now: {', '.join(changed)}" if changed else "nothing has changed")
    return 0


def _check(options: argparse.Namespace) -> int:
    from teiten.launcher.probation import check_probation

    places = Places(options.root)
    config = load_config(places)
    try:
        with hold_lock(places):
            verdict = check_probation(_bench(options, config), config)
    except LauncherBusyError:
        return 0  # an update is under way; the timer comes back in a moment
    if verdict != "none":
        _say(verdict.replace("_", " "))
    return 0


def _install(options: argparse.Namespace) -> int:
    from teiten.launcher.installing import install_bundle

    places = Places(options.root)
    config = load_config(places)
    with hold_lock(places):
        release = install_bundle(_bench(options, config), config, options.bundle)
    _say(f"release {release} is in use")
    return 0


def _run(options: argparse.Namespace) -> int:
    from teiten.launcher.running import build_command

    places = Places(options.root)
    shelf = ReleaseShelf(places, Machine())
    words = [word for word in options.words if word != "--"]
    command = build_command(shelf, load_config(places), role=options.role, words=words)
    try:
        os.execv(command[0], command)  # noqa: S606  # this is what a launcher is for
    except OSError as error:
        raise LauncherError(f"{command[0]} cannot be started: {error.strerror}") from error


def _status(options: argparse.Namespace) -> int:
    places = Places(options.root)
    shelf = ReleaseShelf(places, Machine())
    pending = shelf.read_pending()
    told = {
        "current": shelf.current,
        "committed": shelf.committed,
        "previous": shelf.previous,
        "pending": vars(pending) if pending else None,
        "here": [vars(one) for one in shelf.list_complete()],
        "bad": [vars(one) for one in shelf.list_bad().values()],
        "report": json.loads(places.report.read_text()) if places.report.exists() else None,
    }
    _say(json.dumps(told, indent=2))
    return 0


def _say(text: str, stream: TextIO | None = None) -> None:
    (stream or sys.stdout).write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
