"""What makes a host into a sensor: an install script and cloud-init user data, one of each per sensor.

The script carries everything that the host must believe beforehand: where the gateway
is and what proves it, the root of trust of updates and the operators' keys, the digest of the
launcher's package, and the one-time token, which is the only secret in it.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Self

from teiten.fleet.errors import FleetInputError

_TEMPLATE = Path(__file__).parent / "templates/install/install.sh.txt"
_PACKAGE = re.compile(r"teiten-launcher_[0-9A-Za-z.~+-]+_(amd64|arm64|x86_64|aarch64)\.(deb|rpm)")
_BUNDLE = re.compile(r"teiten-sensor-[1-9][0-9]*-py3(10|11|12|13)-(x86_64|aarch64)\.tar\.xz")
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
#: Where the script's fixed parts end.
_MARK = re.compile(r"@([A-Z_]+)@")
#: Which marks differ from sensor to sensor.
_OF_SENSOR = frozenset({"NAME", "NAME_Q", "NUMBER", "TOKEN_Q", "EXPIRES", "EXPIRES_Q", "FILE", "SETTINGS"})
#: Base64 a line.
_LINE = 76
#: Progress is told after so many sensors.
_TOLD_EACH = 1_000
#: What every provider takes as user data; AWS has the lowest limit.
MAX_USER_DATA_BYTES = 16_384
#: What scripts, TOML and YAML can carry in every place where they name the gateway.
_GATEWAY_URL = re.compile(
    r"https://(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
)
#: What a kit may lack → what that means, and the way out.
GAPS = {
    "no_package": "the scripts bring no launcher package: hosts need teiten-launcher installed by hand; "
    "run `make packages` and give the folder with --packages",
    "no_program": "there is no update repository: the scripts cannot install the program; run `teiten release init` and "
    "publish a release, or carry a bundle with --embed, then make the scripts anew",
    "no_updates": "there is no update repository (`teiten release init`): these sensors will never update themselves",
    "no_user_data": f"user data that carry files are larger than providers take ({MAX_USER_DATA_BYTES:,} bytes), "
    "so there are none: run the install scripts",
    "no_operators": "there is no list of operators: these sensors obey no command until they have one "
    "(publish operators.json: teiten release publish)",
}
#: Where cloud-init puts the script; gone with the next boot.
_CLOUD_PATH = "/run/teiten-install.sh"


@dataclass(frozen=True)
class Package:
    """One file of the launcher's package."""

    path: Path
    #: ``deb`` or ``rpm``.
    kind: str
    #: As ``uname -m`` says it.
    arch: str
    sha256: str

    @property
    def name(self) -> str:
        return self.path.name


@dataclass(frozen=True)
class Kit:
    """What all scripts of one making have in common."""

    #: ``https://HOST[:PORT]``.
    gateway_url: str
    #: Lines of ``[sensor]`` that all have, as name → TOML value.
    settings: Mapping[str, str]
    #: TUF root metadata; None: there is no repository yet.
    root: bytes | None = None
    #: The signed operators' list; None: there is none yet.
    operators: bytes | None = None
    packages: tuple[Package, ...] = ()
    #: Packages and bundles that the script carries instead of fetching them.
    embedded: tuple[Path, ...] = ()

    def find_gaps(self) -> list[str]:
        """Name what sensors made with this kit cannot do, by keys of :data:`GAPS`."""
        has_program = any(_BUNDLE.fullmatch(path.name) for path in self.embedded)
        checks = {
            "no_package": not self.packages,
            "no_program": self.root is None and not has_program,
            "no_updates": self.root is None and has_program,
            "no_user_data": bool(self.embedded),
            "no_operators": self.operators is None,
        }
        return [name for name, is_missing in checks.items() if is_missing]

    def list_gaps(self) -> list[str]:
        """Say what sensors made with this kit cannot do, and what to do about it."""
        return [GAPS[name] for name in self.find_gaps()]


@dataclass(frozen=True)
class Ticket:
    """One sensor's own part."""

    number: int
    name: str
    token: str
    expires_at: datetime
    #: Lines of ``[sensor]`` of its own, as name → TOML value.
    settings: Mapping[str, str] = field(default_factory=dict)


def find_packages(folder: Path) -> tuple[Package, ...]:
    """Give the launcher's packages in ``folder``, at most one a kind and processor.

    Raises:
        FleetInputError: when there is none, or two are for the same.
    """
    found: dict[tuple[str, str], Package] = {}
    for path in sorted(folder.glob("teiten-launcher_*")) if folder.is_dir() else ():
        match = _PACKAGE.fullmatch(path.name)
        if match is None:
            continue
        package = _package_of(path, match)
        other = found.setdefault((package.kind, package.arch), package)
        if other is not package:
            raise FleetInputError(
                "packages", f"{other.name} and {package.name} are for the same hosts; leave one in {folder}"
            )
    if not found:
        raise FleetInputError(
            "packages", f"{folder} holds no teiten-launcher_*.deb or .rpm; run `make packages`"
        )
    return tuple(found.values())


def publish_packages(packages: Iterable[Package], public: Path) -> None:
    """Put packages where the gateway hands them out: ``packages/<sha256>.<name>`` of its public folder."""
    folder = public / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    for package in packages:
        path = folder / f"{package.sha256}.{package.name}"
        if not path.exists():
            part = path.with_name(f".{path.name}.part")
            shutil.copyfile(package.path, part)
            part.chmod(0o644)
            part.replace(path)


def find_published(folder: Path) -> tuple[Package, ...]:
    """Give the packages that the gateway hands out already, the newest of each kind and processor; maybe none."""
    found: dict[tuple[str, str], Package] = {}
    listed = sorted(folder.glob("*.teiten-launcher_*"), key=lambda path: path.stat().st_mtime_ns)
    for path in listed if folder.is_dir() else ():
        sha256, _, name = path.name.partition(".")
        match = _PACKAGE.fullmatch(name)
        if match is not None and len(sha256) == hashlib.sha256().digest_size * 2:
            package = Package(path.with_name(name), match[2], _MACHINES.get(match[1], match[1]), sha256)
            found[(package.kind, package.arch)] = package
    return tuple(found.values())


def check_embedded(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Give the files to carry along.

    Raises:
        FleetInputError: naming one that is neither the launcher's package nor a bundle.
    """
    for path in paths:
        if not (_PACKAGE.fullmatch(path.name) or _BUNDLE.fullmatch(path.name)) or not path.is_file():
            raise FleetInputError(
                "embed", f"{path} is no teiten-launcher_*.deb or .rpm and no teiten-sensor-*.tar.xz"
            )
    return tuple(paths)


def add_embedded(packages: Sequence[Package], embedded: Sequence[Path]) -> tuple[Package, ...]:
    """Give the packages with those that the script carries, which count before fetched ones."""
    found = {(one.kind, one.arch): one for one in packages}
    for path in embedded:
        match = _PACKAGE.fullmatch(path.name)
        if match is not None:
            package = _package_of(path, match)
            found[(package.kind, package.arch)] = package
    return tuple(found.values())


class Renderer:
    """Renders scripts; what they have in common is put in once.

    Args:
        kit: what they have in common.

    Raises:
        FleetInputError: when the gateway's name is none that a script can carry.
    """

    def __init__(self, kit: Kit) -> None:
        if _GATEWAY_URL.fullmatch(kit.gateway_url) is None:
            raise FleetInputError(
                "gateway.authority",
                f"{kit.gateway_url!r:.120} is no address; it must be HOST or HOST:PORT, such as gateway.example:8443",
            )
        self._kit = kit
        common = {
            "GATEWAY_Q": shlex.quote(kit.gateway_url),
            "FIND_PYTHON": _FIND_PYTHON,
            "PACKAGES": "\n".join(map(_package_case, kit.packages)) or "    none) ;;",
            "BLOBS": "\n".join(_blob(path) for path in kit.embedded),
        }
        text = _TEMPLATE.read_text(encoding="utf-8")
        text = _MARK.sub(lambda mark: mark[0] if mark[1] in _OF_SENSOR else common[mark[1]], text)
        #: Texts and, between them, the names of marks.
        self._pieces = _MARK.split(text)

    @property
    def carries_files(self) -> bool:
        return bool(self._kit.embedded)

    def render_script(self, ticket: Ticket) -> str:
        """Give one sensor's install script."""
        expires = f"{ticket.expires_at:%Y-%m-%d %H:%M} UTC"
        values = {
            "NAME": ticket.name,
            "NAME_Q": shlex.quote(ticket.name),
            "NUMBER": str(ticket.number),
            "TOKEN_Q": shlex.quote(ticket.token),
            "EXPIRES": expires,
            "EXPIRES_Q": shlex.quote(expires),
            "FILE": script_name(ticket),
            "SETTINGS": self._settings(ticket),
        }
        pieces = self._pieces
        return "".join(values[piece] if place % 2 else piece for place, piece in enumerate(pieces))

    def _settings(self, ticket: Ticket) -> str:
        kit = self._kit
        own = {**kit.settings, **ticket.settings}
        files = {"sensor.toml": _toml_section("sensor", own)}
        files["launcher.toml"] = _toml_section("launcher", {"update_url": f'"{kit.gateway_url}/tuf"'})
        lines = [_here_document(name, text) for name, text in files.items()]
        for name, content in (("root.json", kit.root), ("operators.json", kit.operators)):
            if content is not None:
                lines.append(f"    base64 -d <<'TEITEN' | put \"$etc/{name}\" 644\n{_lines(content)}\nTEITEN")
        return "\n".join(lines)


def render_user_data(script: str) -> str:
    """Give the cloud-init user data (``#cloud-config``) that runs an install script once.

    Compressed, because providers take 16 KiB (AWS: before base64) to 64 KiB.
    """
    packed = gzip.compress(script.encode(), compresslevel=6, mtime=0)
    content = base64.b64encode(packed).decode("ascii")
    return (
        "#cloud-config\n"
        "# Installs a Teiten sensor at the first boot. It holds a one-time token.\n"
        "write_files:\n"
        f"  - path: {_CLOUD_PATH}\n"
        '    permissions: "0700"\n'
        "    encoding: gz+b64\n"
        f"    content: {content}\n"
        "runcmd:\n"
        f"  - [sh, {_CLOUD_PATH}, install]\n"
        f"  - [rm, -f, {_CLOUD_PATH}]\n"
    )


def script_name(ticket: Ticket) -> str:
    return f"{ticket.name}.install.sh"


class NewFiles:
    """Scripts and user data of one making, readable by their owner only: kept when all went well, else removed.

    Used around the transaction that makes the sensors, so that neither is there without the other.

    Args:
        folder: where they go; made when it is not there.
        names: of the sensors; what could not be written is found out before any is made.
        tell: is told how many of them are written, now and then.

    Raises:
        FleetInputError: when it is no folder, or a file is there already, which may hold a token that is needed.
    """

    def __init__(
        self, folder: Path, names: Sequence[str] = (), *, tell: Callable[[int], None] = lambda _: None
    ) -> None:
        self._folder = folder
        self._names = names
        self._tell = tell
        self._written: list[Path] = []

    def __enter__(self) -> Self:
        with _explained(self._folder):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            there = {path.name for path in self._folder.iterdir()}
        for name in self._names:
            for file in (f"{name}.install.sh", f"{name}.user-data.yaml"):
                if file in there:
                    raise FleetInputError(
                        "output",
                        f"{self._folder / file} is there already, and may hold a token that is still needed; move it away "
                        "or name another folder. Nothing was made",
                    )
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            return
        for path in self._written:
            with contextlib.suppress(OSError):
                path.unlink()

    def write(self, renderer: Renderer, tickets: Sequence[Ticket]) -> None:
        """Write both files of each ticket.

        Raises:
            FleetInputError: when the folder cannot be written.
        """
        with _explained(self._folder):
            for number, ticket in enumerate(tickets, start=1):
                script = renderer.render_script(ticket)
                self._write(script_name(ticket), script)
                if not renderer.carries_files:
                    self._write(f"{ticket.name}.user-data.yaml", render_user_data(script))
                if number % _TOLD_EACH == 0:
                    self._tell(number)

    def _write(self, name: str, text: str) -> None:
        """Write a new file; one that is there may hold a token that is still needed."""
        path = self._folder / name
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._written.append(path)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Say what could not be written, and that nothing came of it."""
    try:
        yield
    except OSError as error:
        told = "it is no folder" if folder.is_file() else error.strerror
        raise FleetInputError(
            "output", f"{error.filename or folder} cannot be written: {told}; nothing was made"
        ) from error


def _package_of(path: Path, match: re.Match[str]) -> Package:
    return Package(path, match[2], _MACHINES.get(match[1], match[1]), _digest(path))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _package_case(package: Package) -> str:
    return f'    {package.kind}-{package.arch}) echo "{package.name} {package.sha256}" ;;'


def _toml_section(name: str, values: Mapping[str, str]) -> str:
    return "\n".join([f"[{name}]", *(f"{key} = {value}" for key, value in values.items())])


def _here_document(name: str, text: str) -> str:
    if "\nTEITEN\n" in f"\n{text}\n":
        raise FleetInputError("settings", f"{name} holds a line TEITEN")
    return f"    put \"$etc/{name}\" 644 <<'TEITEN'\n{text}\nTEITEN"


def _blob(path: Path) -> str:
    return f":blob {path.name}\n{_lines(path.read_bytes())}\n:end"


def _lines(content: bytes) -> str:
    text = base64.b64encode(content).decode("ascii")
    return "\n".join(text[place : place + _LINE] for place in range(0, len(text), _LINE))


_FIND_PYTHON = (_TEMPLATE.parent / "find-python.txt").read_text(encoding="utf-8").rstrip("\n")
