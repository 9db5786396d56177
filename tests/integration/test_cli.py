"""The command line as an operator types it, each call a process of its own over one embedded installation."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from teiten.simulators import places


class Operator:
    """Someone at a terminal with one settings file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = folder / "teiten.toml"
        self.settings.write_text(
            f'[site]\ndata_dir = "{folder / "data"}"\n[gateway]\nport = 18443\nmetrics_port = 19464\n[portal]\nport = 18000\n'
        )

    def type(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "teiten.cli.main", "--config", str(self.settings), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    someone = Operator(tmp_path_factory.mktemp("installation"))
    done = someone.type("migrate")
    assert done.returncode == 0, done.stderr
    return someone


@pytest.mark.requirement("R1.4", "R2.1", "R3.1")
def test_sensors_and_users_are_made_and_listed(operator: Operator) -> None:
    bundle = operator.folder / "sensor.toml"
    made = operator.type(
        "sensor", "create", "TK-0001", "--region", "kanto", "--org", "example", "--bundle", str(bundle)
    )
    user = operator.type("user", "create", "analyst1", "--role", "analyst", "--org", "example")

    assert "tt1_" in made.stdout
    assert "tt1_" not in bundle.read_text()
    assert "sha256/" in bundle.read_text()
    assert "analyst1 (analyst)" in user.stdout
    assert "TK-0001" in operator.type("sensor", "list").stdout
    assert "analyst1" in operator.type("user", "list").stdout


@pytest.mark.requirement("R1.4")
def test_a_place_that_a_slip_of_the_pen_makes_is_said(operator: Operator) -> None:
    words = "--region", "kantou", "--org", "elsewhere"

    slipped = operator.type("sensor", "create", "TK-0101", *words)
    meant = operator.type("sensor", "create", "TK-0102", *words)

    assert "no region 'kantou' yet" in slipped.stderr
    assert "no organisation 'elsewhere' yet" in slipped.stderr
    assert " yet" not in meant.stderr


@pytest.mark.requirement("R2.1")
def test_a_refused_verb_says_why_and_gives_1(operator: Operator) -> None:
    done = operator.type("sensor", "revoke", "NO-SUCH", "--reason", "test")

    assert done.returncode == 1
    assert "NO-SUCH" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.requirement("R2.2")
def test_reference_files_are_checked_before_they_are_used(operator: Operator, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.mmdb", tmp_path / "bad.mmdb"
    places.write_database(good)
    bad.write_bytes(good.read_bytes()[:5000])

    refused = operator.type("geo", "use", str(bad))
    taken = operator.type("geo", "use", str(good))
    refused_again = operator.type("geo", "use", str(bad))

    assert refused.returncode == refused_again.returncode == 1
    assert "bad.mmdb" in refused.stderr
    assert taken.returncode == 0
    assert "countries yes, AS numbers yes" in taken.stdout
    assert "country, AS" in operator.type("doctor").stdout


@pytest.mark.requirement("R2.3")
def test_the_store_is_checked_and_rebuilt(operator: Operator) -> None:
    check = operator.type("store", "check")
    senseless = operator.type("store", "rebuild", "yesterday")

    assert (check.returncode, check.stdout) == (0, "raw rows, roll-ups and coverage agree\n")
    assert senseless.returncode == 1
    assert "YYYY-MM-DD" in senseless.stderr


@pytest.mark.requirement("R2.1")
def test_the_doctor_finds_nothing_wrong_with_a_new_installation(operator: Operator) -> None:
    done = operator.type("doctor")

    assert done.returncode == 0, done.stdout
    assert "nothing is wrong" in done.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[gateway]\nprot = 1\n", "gateway.prot"),
        ("[gatway]\nport = 1\n", "[gatway]"),
        ('[gateway]\nport = "many"\n', "gateway.port must be int"),
        ('[site]\nzone = "Asia/Edo"\n', "Asia/Edo"),
        ('[portal]\nhost = "0.0.0.0"\n', "portal.host"),
        ('[store]\ndataset_days = ["simulated"]\n', "NAME=DAYS"),
    ],
)
def test_wrong_settings_stop_the_start_and_name_themselves(tmp_path: Path, text: str, message: str) -> None:
    someone = Operator(tmp_path)
    someone.settings.write_text(text if "[site]" in text else f'{text}[site]\ndata_dir = "{tmp_path}"\n')

    done = someone.type("up")

    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "postgres").exists()
