"""``teiten release …``: keys, drafts, signatures, publication. What people do on their own machines needs no database."""

from __future__ import annotations

import argparse
import getpass
import stat
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teiten.cli import printing
from teiten.cli.errors import CliError
from teiten.cli.files import read_file, read_json
from teiten.cli.installation import Installation
from teiten.cli.release_gateway import check_gateway
from teiten.foundation.settings import Source

if TYPE_CHECKING:
    # Whoever only makes a key or shows help need not load the repository's libraries.
    from teiten.fleet.releases.key_files import PublicKeyFile
    from teiten.fleet.releases.repository import ReleaseRepository
    from teiten.fleet.services import Act
    from teiten.protocol.operator_list import OperatorList

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

    people = [read_public(path) for path in options.keys]
    with Installation(source) as installation:
        installation.start_django()  # what was public before is on record there
        from teiten.fleet.releases import memory
        from teiten.fleet.services import Act

        repository, now = ReleaseRepository(installation.releases_dir), installation.clock.now()
        loss = memory.find_loss(repository, memory.find_seen())
        if loss is not None and not options.anew:
            raise CliError(loss)
        repository.init(people, now=now)
        memory.begin_anew(Act(now))
        _print_standings(repository)
        print("Now two people of each role sign (`teiten release sign`), then `teiten release publish`.")
    return 0


def build(source: Source, options: argparse.Namespace) -> int:
    """Draft the next targets."""
    from teiten.fleet.releases.bundles import inspect_bundle
    from teiten.fleet.releases.repository import ReleaseRepository
    from teiten.protocol.operator_list import read_operator_list

    settings: dict[str, Path] = {}
    listed: OperatorList | None = None
    if options.operators:
        listed = read_operator_list(read_file(options.operators))
        settings["operators.json"] = options.operators
    if options.gateway:
        check_gateway(options.gateway, read_json(options.gateway))
        settings["gateway.json"] = options.gateway
    bundles = [inspect_bundle(path) for path in options.bundle]
    with Installation(source) as installation:
        repository, now = ReleaseRepository(installation.releases_dir), installation.clock.now()
        if listed is not None:
            _check_operators(repository, options.operators, listed, now_s=int(now.timestamp()))
        before = _describe_waiting(repository)
        draft = repository.draft_targets(bundles, settings, drop=options.drop, above=options.above, now=now)
        if before:
            print(f"{before} is given up: name everything that shall change in one `build`")
        print(describe(draft, repository))
        _print_standings(repository)
    return 0


def _describe_waiting(repository: ReleaseRepository) -> str:
    """Say which draft of targets would be lost by another one; empty when none would."""
    if repository.read_versions() is None:
        return ""  # the first targets are drafted empty, for whoever builds to fill
    waiting = next((one for one in repository.find_standings() if one.role == "targets"), None)
    if waiting is None:
        return ""
    return (
        f"the draft of before (targets {waiting.version}, signed by {', '.join(waiting.signed) or 'nobody'})"
    )


def _check_operators(repository: ReleaseRepository, path: Path, listed: OperatorList, *, now_s: int) -> None:
    """Refuse a list below the published one; say what nobody could sign any more."""
    from teiten.operators.ability import list_gaps
    from teiten.protocol.operator_list import read_operator_list

    content = repository.read_setting("operators.json")
    known = read_operator_list(content) if content is not None else None
    if known is not None and content != read_file(path) and listed.version <= known.version:
        raise CliError(
            f"{path} is version {listed.version}, and version {known.version} is published: make it from the published "
            "one (`teiten-operator list make --before`), so that nobody who was withdrawn comes back"
        )
    for gap in list_gaps(listed, now_s=now_s):
        print(f"note: {gap}")


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

    public = key_files.read_public_of(options.key)
    if options.draft:
        path, repository = options.draft, None
    else:
        with Installation(source) as installation:
            repository = ReleaseRepository(installation.releases_dir)
            path = RepositoryFolder(installation.releases_dir).drafts / f"{public.role}.json"
        _check_signer(repository, public)
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


def _check_signer(repository: ReleaseRepository, public: PublicKeyFile) -> None:
    """Refuse to sign where nothing waits, or where the signature would not count.

    Raises:
        CliError: saying who may.
    """
    repository.check_made()
    standing = next((one for one in repository.find_standings() if one.role == public.role), None)
    if standing is None:
        verb = "rotate" if public.role == "root" else "build"
        raise CliError(f"there is no draft of role {public.role} to sign; `teiten release {verb}` makes one")
    if not repository.counts(public):
        people = ", ".join(dict.fromkeys((*standing.signed, *standing.waiting)))
        raise CliError(
            f"this key of {public.person} is none of those that sign {public.role} ({people}): it would not count"
        )


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
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet.releases import services
        from teiten.fleet.services import Act

        folder, act = installation.releases_dir, Act(installation.clock.now())
        published = services.publish(folder, act=act)
        halted = services.halt_unpublished(folder, act=act)
        told = _follow_operators(folder, act)
    releases = ", ".join(map(str, published.releases)) or "none"
    print(f"published: root {published.root}, targets {published.targets}, releases {releases}")
    for one in halted:
        print(f"roll-out {one.pk} of release {one.subject} is halted: {one.reason}")
    for line in told:
        print(line)
    print("Sensors take it once it is promoted: `teiten release promote N`.")
    return 0


def _follow_operators(folder: Path, act: Act) -> list[str]:
    """Let the base check by the list of operators that sensors take from now on; gives what to say of it."""
    from teiten.fleet.commands import consent, operators
    from teiten.fleet.commands.errors import CommandStateError
    from teiten.fleet.releases.repository import ReleaseRepository

    content, known = ReleaseRepository(folder).read_setting("operators.json"), operators.find_operators()
    if content is None:
        return []
    try:
        listed = operators.import_operators(content, act=act)
    except CommandStateError as error:
        return [f"note: the base's own list of operators is another: {error}"]
    if known is not None and listed.version == known.version:
        return []
    halted = [
        f"command {one.subject} is halted (roll-out {one.pk}): {one.reason}"
        for one in consent.halt_objected(act)
    ]
    return [f"the base checks commands by version {listed.version} of the list of operators now", *halted]


def renew(source: Source, options: argparse.Namespace) -> int:
    """Sign snapshot and timestamp anew when half of their life is over; the worker does so by itself."""
    del options
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet.releases import services
        from teiten.fleet.services import Act

        renewed = services.renew(installation.releases_dir, act=Act(installation.clock.now()))
    print(f"signed anew: {', '.join(renewed)}" if renewed else "nothing is due")
    return 0


def status(source: Source, options: argparse.Namespace) -> int:
    """Say how releases stand; 1 when something is about to expire."""
    del options
    from teiten.fleet.releases.repository import ReleaseRepository

    with Installation(source) as installation:
        repository = ReleaseRepository(installation.releases_dir)
        installation.start_django()
        from teiten.cli.release_rollouts import print_rollouts
        from teiten.fleet.releases import memory

        loss = memory.find_loss(repository, memory.find_seen())
        if loss is not None:
            print(f"WRONG: {loss}")
        else:
            repository.check_made()
        _print_standings(repository)
        late = _print_expiries(repository, installation)
        rows = [
            (name, told["bytes"], told["sha256"][:16]) for name, told in repository.list_targets().items()
        ]
        printing.print_table(("target", "bytes", "SHA-256"), rows)
        print_rollouts()
    return 1 if late or loss is not None else 0


def describe(draft: Any, repository: ReleaseRepository | None = None) -> str:
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


def _print_standings(repository: ReleaseRepository) -> None:
    for standing in repository.find_standings():
        print(f"draft {standing}")


def _print_expiries(repository: ReleaseRepository, installation: Installation) -> bool:
    from teiten.fleet.releases.services import WAYS_OUT

    now, late = installation.clock.now(), False
    for role, at in repository.list_expiries().items():
        is_soon = at - now < _SOON.get(role, timedelta(hours=6))
        late = late or is_soon
        mark = "EXPIRED, sensors take nothing" if at <= now else "SOON"
        print(f"{role} expires {printing.instant(at)}" + (f"  {mark}: {WAYS_OUT[role]}" if is_soon else ""))
    return late


def _read_passphrase(path: Path | None, *, is_new: bool = False) -> str:
    if path is not None:
        return _read_passphrase_file(path)
    try:
        first = getpass.getpass("Passphrase: ")
        again = getpass.getpass("Again: ") if is_new else first
    except EOFError as error:
        raise CliError("no passphrase was given; use --passphrase-file where nobody can type") from error
    if again != first:
        raise CliError("the two differ; nothing was made")
    return first


def _read_passphrase_file(path: Path) -> str:
    content = read_file(path)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        print(f"note: others can read {path}; run chmod 600 {path}", file=sys.stderr)
    try:
        return content.decode("utf-8").split("\n", 1)[0].rstrip("\r")
    except UnicodeDecodeError as error:
        raise CliError(f"{path} holds no text; its first line must be the passphrase") from error


def _agree() -> bool:
    if not sys.stdin.isatty():
        raise CliError("read the draft above; then sign with --yes, or at a terminal")
    if input("Is this what you mean to sign? [y/N] ").strip().lower() == "y":
        return True
    print("not signed")
    return False
