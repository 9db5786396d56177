"""``teiten release …``: keys, drafts, signatures, publication. Only `publish` needs the database."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from teiten.cli import printing, sensor_settings
from teiten.cli.errors import CliError
from teiten.cli.installation import Installation
from teiten.foundation.settings import Source

#: Of a role's life, the rest at which people are reminded.
_SOON = {"root": timedelta(days=60), "targets": timedelta(days=21), "snapshot": timedelta(days=2)}


def create_key(source: Source, options: argparse.Namespace) -> int:
    """Make a person's key, on that person's machine."""
    from teiten.fleet.releases import key_files

    del source
    passphrase = _read_passphrase(options.passphrase_file, is_new=True)
    made = key_files.create_key_file(
        options.out, role=options.role, person=options.person, passphrase=passphrase
    )
    print(f"{made.role} key of {made.person}: {options.out} stays with {made.person};")
    print(f"{options.out}.pub goes to whoever runs `teiten release init` or `rotate`.")
    return 0


def init(source: Source, options: argparse.Namespace) -> int:
    """Draft the first root."""
    from teiten.fleet.releases.key_files import read_public
    from teiten.fleet.releases.repository import ReleaseRepository

    with Installation(source) as installation:
        repository = ReleaseRepository(installation.releases_dir)
        repository.init([read_public(path) for path in options.keys], now=installation.clock.now())
        _print_standings(repository)
        print("Now two people of each role sign (`teiten release sign`), then `teiten release publish`.")
    return 0


def build(source: Source, options: argparse.Namespace) -> int:
    """Draft the next targets."""
    from teiten.fleet.releases.bundles import inspect_bundle
    from teiten.fleet.releases.repository import ReleaseRepository
    from teiten.protocol.operator_list import read_operator_list

    settings: dict[str, Path] = {}
    if options.operators:
        read_operator_list(_read_file(options.operators))
        settings["operators.json"] = options.operators
    if options.gateway:
        _check_gateway(options.gateway)
        settings["gateway.json"] = options.gateway
    bundles = [inspect_bundle(path) for path in options.bundle]
    with Installation(source) as installation:
        repository = ReleaseRepository(installation.releases_dir)
        draft = repository.draft_targets(bundles, settings, drop=options.drop, now=installation.clock.now())
        print(describe(draft, repository))
        _print_standings(repository)
    return 0


def rotate(source: Source, options: argparse.Namespace) -> int:
    """Draft the next root."""
    from teiten.fleet.releases.key_files import read_public
    from teiten.fleet.releases.repository import ReleaseRepository

    with Installation(source) as installation:
        repository = ReleaseRepository(installation.releases_dir)
        repository.draft_root(
            add=[read_public(path) for path in options.add],
            remove=options.remove,
            renew_online=options.online,
            now=installation.clock.now(),
        )
        _print_standings(repository)
    return 0


def sign(source: Source, options: argparse.Namespace) -> int:
    """Show drafts and sign them."""
    from teiten.fleet.releases import key_files, signing
    from teiten.fleet.releases.folder import RepositoryFolder, read_metadata, write_file
    from teiten.fleet.releases.repository import ReleaseRepository

    role = key_files.read_public_of(options.key).role
    if options.draft:
        path, repository = options.draft, None
    else:
        with Installation(source) as installation:
            repository = ReleaseRepository(installation.releases_dir)
            path = RepositoryFolder(installation.releases_dir).drafts / f"{role}.json"
    draft = read_metadata(path)
    print(describe(draft, repository))
    if not options.yes and not _agree():
        return 1
    signing.sign_draft(
        draft, *key_files.open_key_file(options.key, _read_passphrase(options.passphrase_file))
    )
    write_file(path, draft.to_bytes())
    if repository is None:
        print(f"{path} is signed; bring it back and run `teiten release merge {path.name}`")
    else:
        _print_standings(repository)
    return 0


def merge(source: Source, options: argparse.Namespace) -> int:
    """Take signatures of copies."""
    from teiten.fleet.releases import signing
    from teiten.fleet.releases.folder import read_metadata
    from teiten.fleet.releases.repository import ReleaseRepository

    with Installation(source) as installation:
        repository = ReleaseRepository(installation.releases_dir)
        for path in options.files:
            copy = read_metadata(path)
            draft = repository.folder.read_draft(copy.signed.type)
            if draft is None:
                raise CliError(f"{path}: there is no draft of role {copy.signed.type} to sign")
            print(f"{path}: {signing.merge_signatures(draft, copy)} new signatures")
            repository.folder.write_draft(draft)
        _print_standings(repository)
    return 0


def discard(source: Source, options: argparse.Namespace) -> int:
    """Throw a draft away; what is published stays."""
    from teiten.fleet.releases.repository import ReleaseRepository

    with Installation(source) as installation:
        ReleaseRepository(installation.releases_dir).discard(options.role)
    print(f"there is no draft of role {options.role} now")
    return 0


def publish(source: Source, options: argparse.Namespace) -> int:
    """Make signed drafts public."""
    del options
    from teiten.fleet.releases.repository import ReleaseRepository

    with Installation(source) as installation:
        installation.start_django()  # first: what is published is on record
        from teiten.fleet.releases import services
        from teiten.fleet.services import Act

        now = installation.clock.now()
        published = ReleaseRepository(installation.releases_dir).publish(now=now)
        services.record_publication(published, Act(now))
    releases = ", ".join(map(str, published.releases)) or "none"
    print(f"published: root {published.root}, targets {published.targets}, releases {releases}")
    print("Sensors take it once it is promoted: `teiten release promote N`.")
    return 0


def renew(source: Source, options: argparse.Namespace) -> int:
    """Sign snapshot and timestamp anew when half of their life is over; the worker does so by itself."""
    del options
    from teiten.fleet.releases.repository import ReleaseRepository

    with Installation(source) as installation:
        renewed = ReleaseRepository(installation.releases_dir).renew(now=installation.clock.now())
    print(f"signed anew: {', '.join(renewed)}" if renewed else "nothing is due")
    return 0


def status(source: Source, options: argparse.Namespace) -> int:
    """Say how releases stand; 1 when something is about to expire."""
    del options
    from teiten.fleet.releases.repository import ReleaseRepository

    with Installation(source) as installation:
        repository = ReleaseRepository(installation.releases_dir)
        if not repository.folder.is_made:
            raise CliError(
                f"there is no repository in {installation.releases_dir}; run `teiten release init`"
            )
        _print_standings(repository)
        late = _print_expiries(repository, installation)
        rows = [
            (name, told["bytes"], told["sha256"][:16]) for name, told in repository.list_targets().items()
        ]
        printing.print_table(("target", "bytes", "SHA-256"), rows)
        installation.start_django()
        from teiten.cli.release_rollouts import print_rollouts

        print_rollouts()
    return 1 if late else 0


def write_gateway(source: Source, options: argparse.Namespace) -> int:
    """Write gateway.json."""
    with Installation(source) as installation:
        keys = [sensor_settings.gateway_key_text(installation), *options.gateway_key]
        record: dict[str, Any] = {
            "v": 1,
            "url": options.url or f"https://{installation.gateway_config.authority}",
            "authority": installation.gateway_config.authority,
            "pins": [sensor_settings.gateway_pin(installation), *options.pin],
            "gateway_keys": dict(key.split("=", 1) for key in keys),
        }
    options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    _check_gateway(options.out)
    print(f"{options.out}: {len(record['pins'])} pins, {len(record['gateway_keys'])} keys")
    if len(record["pins"]) == 1:
        print("There is no backup pin: a lost TLS key would lock sensors out until they fetch a new file.")
    return 0


def describe(draft: Any, repository: Any = None) -> str:
    """Say for people what a draft would change."""
    signed = draft.signed
    lines = [f"{signed.type} {signed.version}, until {signed.expires:%Y-%m-%d %H:%M} UTC"]
    if signed.type == "root":
        return "\n".join(lines + _describe_root(signed))
    before = repository.list_targets() if repository is not None else {}
    for name, file in sorted(signed.targets.items()):
        mark = " " if before.get(name, {}).get("sha256") == file.hashes["sha256"] else "+"
        lines.append(f" {mark} {name}  {file.length:,} bytes  sha256 {file.hashes['sha256']}")
    lines += [f" - {name}" for name in before if name not in signed.targets]
    return "\n".join(lines)


def _describe_root(root: Any) -> list[str]:
    from teiten.fleet.releases.signing import person_of

    return [
        f"   {name}: {role.threshold} of {', '.join(person_of(root.keys[key]) for key in role.keyids)}"
        for name, role in sorted(root.roles.items())
    ]


def _print_standings(repository: Any) -> None:
    for standing in repository.find_standings():
        print(f"draft {standing}")


def _print_expiries(repository: Any, installation: Installation) -> bool:
    now, late = installation.clock.now(), False
    for role, at in repository.list_expiries().items():
        is_soon = at - now < _SOON.get(role, timedelta(hours=6))
        late = late or is_soon
        print(f"{role} expires {printing.instant(at)}{'  SOON: sign it anew' if is_soon else ''}")
    return late


def _check_gateway(path: Path) -> None:
    from teiten.sensor.connection import parse_address
    from teiten.sensor.errors import SensorError
    from teiten.sensor.state import parse_gateway_keys

    try:
        told = json.loads(_read_file(path))
        parse_address(told["url"], pins=tuple(told["pins"]))
        keys: Mapping[str, str] = told["gateway_keys"]
        known = parse_gateway_keys(tuple(f"{name}={key}" for name, key in keys.items()))
    except (ValueError, KeyError, TypeError, AttributeError, SensorError) as error:
        raise CliError(f"{path} is no gateway.json (url, pins, gateway_keys): {error}") from error
    if not told["pins"] or not known:
        raise CliError(f"{path}: pins and gateway_keys must not be empty; sensors would trust nobody")


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CliError(f"{path} cannot be read: {error.strerror}") from error


def _read_passphrase(path: Path | None, *, is_new: bool = False) -> str:
    if path is not None:
        return _read_file(path).decode("utf-8").split("\n", 1)[0]
    first = getpass.getpass("Passphrase: ")
    if is_new and getpass.getpass("Again: ") != first:
        raise CliError("the two differ; nothing was made")
    return first


def _agree() -> bool:
    if not sys.stdin.isatty():
        raise CliError("read the draft above; then sign with --yes, or at a terminal")
    return input("Is this what you mean to sign? [y/N] ").strip().lower() == "y"
