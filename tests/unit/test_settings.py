from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from teiten.foundation import settings
from teiten.foundation.errors import SettingsError


@dataclass(frozen=True)
class DoorConfig:
    name: str
    port: int = 80
    is_open: bool = True
    size: Literal["small", "large"] = "small"
    peers: tuple[str, ...] = ()
    folder: Path | None = None


def load(tmp_path: Path, text: str, environment: dict[str, str] | None = None) -> DoorConfig:
    path = tmp_path / "teiten.toml"
    path.write_text(text)
    source = settings.load(path, environment or {})
    source.check_sections({"door": DoorConfig})
    return source.section("door", DoorConfig)


def test_it_works(tmp_path: Path) -> None:
    door = load(tmp_path, '[door]\nname = "front"\nport = 8443\npeers = ["a", "b"]\nfolder = "/srv"\n')

    assert door == DoorConfig(name="front", port=8443, peers=("a", "b"), folder=Path("/srv"))


def test_environment_wins_over_the_file(tmp_path: Path) -> None:
    environment = {"TEITEN_DOOR_PORT": "99", "TEITEN_DOOR_IS_OPEN": "no", "TEITEN_DOOR_PEERS": "x, y"}

    door = load(tmp_path, '[door]\nname = "front"\nport = 1\n', environment)

    assert (door.port, door.is_open, door.peers) == (99, False, ("x", "y"))


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hidden\n")

    door = load(tmp_path, f'[door]\nname_file = "{tmp_path / "secret"}"\n')

    assert door.name == "hidden"


@pytest.mark.parametrize(
    ("text", "environment", "message"),
    [
        ("[door]\n", {}, "setting door.name is missing"),
        ('[door]\nname = "a"\ncolour = "red"\n', {}, "setting door.colour .* is unknown"),
        ('[dor]\nname = "a"\n', {}, r"section \[dor\] .* is unknown"),
        ('name = "a"\n', {}, "stands outside a section"),
        ('[door]\nname = "a"\nport = "many"\n', {}, "door.port must be int"),
        ("[door]\nname = 5\n", {}, "door.name must be str"),
        ('[door]\nname = "a"\nsize = "huge"\n', {}, "door.size must be one of small, large"),
        ('[door]\nname = "a"\nis_open = "maybe"\n', {}, "must be true or false"),
        ('[door]\nname = "a"\n', {"TEITEN_DOOR_COLOUR": "red"}, "TEITEN_DOOR_COLOUR is no setting"),
        ("[door\n", {}, "no valid TOML"),
        ('[door]\nname_file = "/nowhere/secret"\n', {}, "secret file /nowhere/secret"),
    ],
)
def test_a_wrong_setting_names_itself(
    tmp_path: Path, text: str, environment: dict[str, str], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        load(tmp_path, text, environment)


def test_a_missing_file_names_itself(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nothing\.toml cannot be read"):
        settings.load(tmp_path / "nothing.toml", {})
