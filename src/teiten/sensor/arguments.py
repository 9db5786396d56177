"""The command line of ``teiten-sensor``: options, and how they meet the settings."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import teiten
from teiten.foundation import settings
from teiten.sensor.config import SensorConfig

_SECTION = "sensor"
#: Option → setting, where the option may be given several times.
_LISTS = {"interface": "interfaces", "observed": "observed", "exclude": "exclude", "pin": "pins"}
_SCALARS = {
    "state_dir": "state_dir",
    "gateway": "gateway_url",
    "authority": "authority",
    "ca_file": "ca_file",
    "payload": "payload_bytes",
    "mode": "mode",
    "live": "live",
}


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="teiten-sensor",
        description="Record what arrives at this host unasked, and send it sealed to a gateway.",
    )
    parser.add_argument("--version", action="version", version=f"teiten-sensor {teiten.__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, text in (
        ("run", "record and send until stopped"),
        ("record", "record into the spool only (the sending process runs apart)"),
        ("upload", "send what is in the spool (the recording process runs apart)"),
    ):
        verb = verbs.add_parser(name, help=text, description=text)
        _add_common(verb)
        _add_gateway(verb)
        _add_recording(verb)
        if name == "upload":
            verb.add_argument("--supervised", action="store_true", help=argparse.SUPPRESS)
    _add_enrol(verbs)
    status = verbs.add_parser("status", help="say how this sensor is")
    _add_common(status)
    status.add_argument("--json", action="store_true", help="as one JSON object")
    _add_replay(verbs)
    _add_obey(verbs)
    _add_audit(verbs)
    return parser


def build_config(options: argparse.Namespace, environment: dict[str, str] | None = None) -> SensorConfig:
    """Give the settings: defaults, then the file, then the environment, then the options.

    Raises:
        SettingsError: naming what is wrong.
    """
    source = settings.load(options.config, environment)
    own = settings.Source(
        tables={name: table for name, table in source.tables.items() if name == _SECTION},
        environment={
            name: value
            for name, value in source.environment.items()
            if name.startswith(f"{settings.PREFIX}{_SECTION.upper()}_")
        },
        name=source.name,
    )
    own.check_sections({_SECTION: SensorConfig})
    config = own.section(_SECTION, SensorConfig)
    return dataclasses.replace(config, **_list_overrides(options)).check()


def _list_overrides(options: argparse.Namespace) -> dict[str, Any]:
    given = vars(options)
    overrides = {
        setting: given[option] for option, setting in _SCALARS.items() if given.get(option) is not None
    }
    if given["verb"] == "replay" and "payload_bytes" in overrides:
        overrides["import_payload_bytes"] = overrides.pop("payload_bytes")
    lists = {setting: tuple(given[option]) for option, setting in _LISTS.items() if given.get(option)}
    return {**overrides, **lists}


def _add_common(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--config", type=Path, metavar="FILE", help="settings file (TOML), section [sensor]")
    verb.add_argument("--state-dir", type=Path, metavar="DIR", help="folder of key, identity and spool")


def _add_gateway(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--gateway", metavar="URL", help="https://HOST[:PORT]")
    verb.add_argument(
        "--authority", metavar="HOST[:PORT]", help="what requests are signed for, if not the URL's"
    )
    verb.add_argument(
        "--pin", action="append", metavar="SHA256", help="pin of the gateway's public key; repeatable"
    )
    verb.add_argument("--ca-file", type=Path, metavar="PEM", help="certificate authority of the gateway")


def _add_recording(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--interface", action="append", metavar="NAME", help="interface to watch; repeatable")
    verb.add_argument("--observed", action="append", metavar="PREFIX", help="observed prefix; repeatable")
    verb.add_argument(
        "--exclude", action="append", metavar="RULE", help="solicited: 'PREFIX tcp from 443'; repeatable"
    )
    verb.add_argument("--mode", choices=("silent", "answering"), help="whether the host answers what arrives")
    verb.add_argument(
        "--payload", type=int, metavar="BYTES", help="payload bytes to keep per packet (0: none)"
    )
    verb.add_argument("--live", action="store_true", default=None, help="close a window every second")


def _add_enrol(verbs: Any) -> None:
    for name, text in (
        ("enrol", "bind this state folder to the sensor of a one-time token"),
        ("recover", "give the sensor of a recovery token a new key, in this state folder"),
    ):
        verb = verbs.add_parser(name, help=text, description=text)
        _add_common(verb)
        _add_gateway(verb)
        verb.add_argument(
            "--token-file",
            required=True,
            metavar="FILE",
            help="file that holds the token (0600), or - for standard input",
        )


def _add_replay(verbs: Any) -> None:
    verb = verbs.add_parser("replay", help="send capture files (pcap, pcapng) as a named import")
    _add_common(verb)
    _add_gateway(verb)
    verb.add_argument("files", nargs="+", type=Path, metavar="FILE")
    verb.add_argument(
        "--name", required=True, help="name of the import: a-z, 0-9 and -, at most 40 characters"
    )
    verb.add_argument("--again", action="store_true", help="send under a name that was used before")
    verb.add_argument("--spool-only", action="store_true", help="leave the batches in the spool")
    verb.add_argument(
        "--observed", action="append", metavar="PREFIX", help="what the capture watched; repeatable"
    )
    verb.add_argument("--mode", choices=("silent", "answering"), help="whether the captured host answered")
    verb.add_argument(
        "--payload", type=int, metavar="BYTES", help="payload bytes to keep per packet (0: none)"
    )


def _add_obey(verbs: Any) -> None:
    text = "obey what operators signed and needs root; started by the service installation"
    verb = verbs.add_parser("obey", help=text, description=text)
    _add_common(verb)
    verb.add_argument("--request", type=Path, metavar="FILE", help="one request; otherwise all that wait")


def _add_audit(verbs: Any) -> None:
    verb = verbs.add_parser("audit", help="check or show what this sensor was told and did")
    _add_common(verb)
    verb.add_argument("what", choices=("verify", "show"), help="check every link, or print every record")
    verb.add_argument(
        "--file", type=Path, metavar="FILE", help="another chain, for example the root helper's"
    )
    verb.add_argument(
        "--head", metavar="COUNT:SHA256", help="a head that the base was told; the chain must hold it"
    )
