"""Install scripts and user data: what they hold, and that shells and cloud-init would take them."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import http.server
import os
import re
import shutil
import stat
import subprocess
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
import tomllib

from teiten.fleet.errors import FleetInputError
from teiten.fleet.installing import (
    MAX_USER_DATA_BYTES,
    Kit,
    NewFiles,
    Renderer,
    Ticket,
    add_embedded,
    check_embedded,
    find_packages,
    publish_packages,
    render_user_data,
)

pytestmark = pytest.mark.requirement("R1.4")
ROOT = Path(__file__).parents[2]
TOKEN = "tt1_0123456789abcdef_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I"
TICKET = Ticket(
    7, "TK-0001", TOKEN, datetime(2026, 11, 22, 9, 30, tzinfo=timezone.utc), settings={"number": "7"}
)
SETTINGS = {"gateway_url": '"https://gateway.example:8443"', "pins": '["cGlu"]', "allow_exec": "false"}


def make_kit(tmp_path: Path, **more: object) -> Kit:
    for name in ("amd64.deb", "arm64.deb", "x86_64.rpm", "aarch64.rpm"):
        (tmp_path / f"teiten-launcher_0.1.0-1_{name}").write_bytes(os.urandom(2_000))
    values = {"root": b'{"signed": "root"}' * 200, "operators": b'{"operators": []}', **more}
    return Kit(
        gateway_url="https://gateway.example:8443",
        settings=SETTINGS,
        packages=find_packages(tmp_path),
        **values,  # type: ignore[arg-type]
    )


@pytest.fixture
def script(tmp_path: Path) -> str:
    return Renderer(make_kit(tmp_path)).render_script(TICKET)


def test_a_script_is_clean_posix_shell(script: str, tmp_path: Path) -> None:
    path = tmp_path / "install.sh"
    path.write_text(script)

    assert (
        subprocess.run(["shellcheck", "-s", "sh", path], check=False, capture_output=True, text=True).stdout
        == ""
    )
    assert subprocess.run(["dash", "-n", path], check=False).returncode == 0
    assert not re.findall(r"@[A-Z_]+@", script)


@pytest.mark.parametrize(
    "url",
    [
        "https://https://gateway.example",
        "https://gateway.example/",
        'https://gateway.example"\nuser = "root',
        "https://gateway.example$(id)",
        "https://gateway.example\nTEITEN\nid",
        "https://gateway.example:8443\n",
        "https://見本.example",
        "https://",
        "http://gateway.example",
    ],
)
def test_a_gateway_that_is_no_address_is_named_before_anything_is_made(tmp_path: Path, url: str) -> None:
    with pytest.raises(FleetInputError, match="HOST:PORT"):
        Renderer(dataclasses.replace(make_kit(tmp_path), gateway_url=url))


@pytest.mark.parametrize("host", ["localhost:8443", "192.0.2.1:8443", "[2001:db8::1]:8443", "gw-1.example"])
def test_every_form_of_address_is_carried(tmp_path: Path, host: str) -> None:
    Renderer(dataclasses.replace(make_kit(tmp_path), gateway_url=f"https://{host}"))


def test_the_token_is_the_only_secret_and_stands_there_once(script: str) -> None:
    assert script.count(TOKEN) == 1
    assert "PRIVATE" not in script


def test_a_script_writes_settings_that_the_sensor_and_the_launcher_read(script: str) -> None:
    documents = dict(
        re.findall(r'put "\$etc/([a-z.]+)" 644 <<\'TEITEN\'\n(.*?)\nTEITEN\n', script, re.DOTALL)
    )

    sensor = tomllib.loads(documents["sensor.toml"])["sensor"]
    assert sensor == {
        "gateway_url": "https://gateway.example:8443",
        "pins": ["cGlu"],
        "allow_exec": False,
        "number": 7,
    }
    launcher = tomllib.loads(documents["launcher.toml"])["launcher"]
    assert launcher == {"update_url": "https://gateway.example:8443/tuf"}


def test_a_script_pins_the_package_of_every_system(script: str, tmp_path: Path) -> None:
    for package in find_packages(tmp_path):
        assert f'{package.kind}-{package.arch}) echo "{package.name} {package.sha256}" ;;' in script


@pytest.mark.parametrize(
    ("release", "machine", "expected"),
    [
        ('ID=debian\nVERSION_ID="12"\n', "x86_64", "deb-x86_64"),
        ('ID=ubuntu\nID_LIKE=debian\nVERSION_ID="22.04"\n', "aarch64", "deb-aarch64"),
        ('ID=ubuntu\nVERSION_ID="24.04"\n', "x86_64", "deb-x86_64"),
        ('ID="rhel"\nVERSION_ID="9.4"\nID_LIKE="fedora"\n', "x86_64", "rpm-x86_64"),
        ('ID="almalinux"\nID_LIKE="rhel centos fedora"\nVERSION_ID="8.10"\n', "x86_64", "rpm-x86_64"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.5"\n', "aarch64", "rpm-aarch64"),
        ('ID="ol"\nID_LIKE="fedora"\nVERSION_ID="8.9"\n', "x86_64", "rpm-x86_64"),
        ('ID="centos"\nID_LIKE="rhel fedora"\nVERSION_ID="9"\n', "x86_64", "rpm-x86_64"),
        ('ID=ubuntu\nVERSION_ID="20.04"\n', "x86_64", "-x86_64"),
        ('ID=debian\nVERSION_ID="11"\n', "x86_64", "-x86_64"),
        ('ID="rhel"\nVERSION_ID="7.9"\n', "x86_64", "-x86_64"),
        ('ID="rhel"\nVERSION_ID="10.0"\n', "x86_64", "-x86_64"),
        ("ID=arch\n", "x86_64", "-x86_64"),
    ],
)
def test_a_script_knows_the_systems(
    script: str, tmp_path: Path, release: str, machine: str, expected: str
) -> None:
    (tmp_path / "os-release").write_text(release)
    text = script.replace("/etc/os-release", str(tmp_path / "os-release"))
    text = text.replace("$(uname -m)", machine)
    (tmp_path / "part.sh").write_text(text[: text.index("# ── before anything is changed")])

    said = subprocess.run(
        ["sh", "-c", f'. {tmp_path}/part.sh; read_system; echo "$kind-$arch"'],
        check=False,
        capture_output=True,
        text=True,
    )

    assert said.stdout.strip() == expected


def test_a_host_that_cannot_be_a_sensor_is_told_so_and_nothing_is_changed(
    script: str, tmp_path: Path
) -> None:
    (tmp_path / "os-release").write_text('ID=debian\nVERSION_ID="11"\n')
    text = script.replace("/etc/os-release", str(tmp_path / "os-release"))
    text = text.replace("/run/systemd/system", str(tmp_path / "no-systemd"))
    text = text.replace("$(id -u)", "1000").replace("need_var_kib=500000", "need_var_kib=99999999999")
    (tmp_path / "install.sh").write_text(text)
    before = sorted(tmp_path.rglob("*"))

    done = subprocess.run(["sh", tmp_path / "install.sh"], check=False, capture_output=True, text=True)

    assert done.returncode == 3
    for words in ("not root", "debian 11", "systemd", "are needed", "nothing was changed"):
        assert words in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_an_unknown_word_is_refused(script: str, tmp_path: Path) -> None:
    (tmp_path / "install.sh").write_text(script)

    done = subprocess.run(
        ["sh", tmp_path / "install.sh", "remove"], check=False, capture_output=True, text=True
    )

    assert (done.returncode, "usage" in done.stderr) == (2, True)


def test_user_data_run_the_same_script_and_fit_every_provider(script: str) -> None:
    text = render_user_data(script)

    assert text.startswith("#cloud-config\n")
    assert len(text) <= MAX_USER_DATA_BYTES
    content = re.search(r"content: (\S+)", text)
    assert content is not None
    assert gzip.decompress(base64.b64decode(content[1])).decode() == script


def test_a_script_carries_files_that_come_out_as_they_were(tmp_path: Path) -> None:
    bundle = tmp_path / "teiten-sensor-12-py311-x86_64.tar.xz"
    bundle.write_bytes(os.urandom(5_000))
    package = tmp_path / "teiten-launcher_0.1.0-1_amd64.deb"
    package.write_bytes(b"made by hand")
    embedded = check_embedded([bundle, package])
    kit = Kit("https://192.0.2.1:8443", SETTINGS, packages=add_embedded((), embedded), embedded=embedded)
    (tmp_path / "install.sh").write_text(Renderer(kit).render_script(TICKET))
    part = (tmp_path / "install.sh").read_text()
    functions = tmp_path / "functions.sh"
    functions.write_text(part[: part.index("free_kib()")].replace('"$0"', f'"{tmp_path}/install.sh"'))

    for path in (bundle, package):
        subprocess.run(["sh", "-c", f". {functions}; write_blob {path.name} {tmp_path}/out"], check=True)
        assert (tmp_path / "out").read_bytes() == path.read_bytes()


def test_files_belong_to_their_owner_only_and_are_all_there_or_none(tmp_path: Path) -> None:
    renderer = Renderer(make_kit(tmp_path))
    tickets = [Ticket(n, f"TK-{n:04}", TOKEN, TICKET.expires_at) for n in range(1, 6)]
    folder = tmp_path / "out"

    with NewFiles(folder) as files:
        files.write(renderer, tickets)

    assert len(list(folder.iterdir())) == 10
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}

    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "TK-0004.install.sh").write_text("somebody's")
    with pytest.raises(FleetInputError, match="TK-0004"), NewFiles(taken) as files:
        files.write(renderer, tickets)
    assert [path.read_text() for path in taken.iterdir()] == ["somebody's"]

    late = NewFiles(tmp_path / "late")
    with late as files:
        files.write(renderer, tickets)
        files.__exit__(RuntimeError, RuntimeError("the transaction is not committed"), None)
    assert not list((tmp_path / "late").iterdir())


def test_what_will_not_work_is_said(tmp_path: Path) -> None:
    bundle = tmp_path / "teiten-sensor-12-py311-x86_64.tar.xz"
    bundle.touch()

    assert make_kit(tmp_path).list_gaps() == []
    nothing = " ".join(Kit("https://192.0.2.1", {}).list_gaps())
    for words in ("make packages", "teiten release init", "operators"):
        assert words in nothing
    carried = " ".join(Kit("https://192.0.2.1", {}, embedded=(bundle,)).list_gaps())
    assert "never update" in carried


@pytest.mark.parametrize("name", ["notes.txt", "teiten-launcher_0.1.0-1_mips.deb", "absent"])
def test_only_packages_and_bundles_are_carried(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").touch()

    with pytest.raises(FleetInputError, match=re.escape(name)):
        check_embedded([tmp_path / name])


def test_two_packages_for_the_same_hosts_are_refused(tmp_path: Path) -> None:
    make_kit(tmp_path)
    (tmp_path / "teiten-launcher_0.2.0-1_amd64.deb").touch()

    with pytest.raises(FleetInputError, match="same hosts"):
        find_packages(tmp_path)
    with pytest.raises(FleetInputError, match="make packages"):
        find_packages(tmp_path / "absent")


def test_packages_are_published_under_their_digest(tmp_path: Path) -> None:
    kit = make_kit(tmp_path)

    for _twice in range(2):
        publish_packages(kit.packages, tmp_path / "public")

    found = {path.name: path.read_bytes() for path in (tmp_path / "public/packages").iterdir()}
    assert found == {f"{one.sha256}.{one.name}": one.path.read_bytes() for one in kit.packages}


def test_script_and_package_choose_the_same_python() -> None:
    ours = (ROOT / "src/teiten/fleet/templates/install/find-python.txt").read_text()
    packaged = (ROOT / "packaging/launcher/find-python").read_text()

    assert packaged == f"# shellcheck shell=sh\n{ours}"


@pytest.fixture
def fake_bin(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "bin"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("own", "others", "expected"),
    [
        ("3.12", ["3.11"], "3.12"),
        ("3.6", ["3.11", "3.12"], "3.11"),
        ("3.9", ["3.12"], "3.12"),
        ("3.14", ["3.10"], "3.10"),
        ("3.9", [], None),
        (None, ["3.13"], "3.13"),
    ],
)
def test_the_python_is_the_systems_own_where_it_will_do(
    fake_bin: Path, own: str | None, others: list[str], expected: str | None
) -> None:
    for version in [*([own] if own else []), *others]:
        (fake_bin / f"python{version}").touch(mode=0o755)
    if own:
        (fake_bin / "python3").symlink_to(f"python{own}")
    text = (ROOT / "packaging/launcher/find-python").read_text().replace("/usr/bin", str(fake_bin))
    (fake_bin / "find").write_text(text)

    done = subprocess.run(
        ["sh", "-c", f". {fake_bin}/find; find_python"], check=False, capture_output=True, text=True
    )

    assert done.stdout.strip() == (f"{fake_bin}/python{expected}" if expected else "")
    assert done.returncode == (0 if expected else 1)


@pytest.mark.skipif(shutil.which("curl") is None, reason="not installed: curl")
@pytest.mark.parametrize(("each", "is_whole"), [(40_000, True), (0, False)])
def test_a_package_goes_on_where_the_line_broke(
    script: str, tmp_path: Path, each: int, is_whole: bool
) -> None:
    content, asked = os.urandom(100_000), []

    class Breaking(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers.get("Range", ""))
            start = int(asked[-1].removeprefix("bytes=").rstrip("-") or 0)
            self.send_response(206 if start else 200)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start : start + each])

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Breaking)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    functions = script[script.index("fetch() {") : script.index("install_deb() {")]
    url = f"http://127.0.0.1:{server.server_address[1]}/tuf/packages/x"
    try:
        done = subprocess.run(
            ["sh", "-euc", f"{functions}\nsleep() {{ :; }}\nfetch {url} {tmp_path / 'got'}"],
            check=False,
            capture_output=True,
            timeout=60,
        )
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

    assert (done.returncode == 0) is is_whole
    if is_whole:
        assert (tmp_path / "got").read_bytes() == content
        assert asked == ["", "bytes=40000-", "bytes=80000-"]
    else:
        assert len(asked) == 3
