"""What Django is started with: the secret key, and settings that would be unsafe."""

from __future__ import annotations

import runpy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from teiten.foundation.errors import SettingsError
from teiten.foundation.settings import Source
from teiten.portal import boot, config

pytestmark = pytest.mark.requirement("R3.1")


def source(**tables: dict[str, Any]) -> Source:
    return Source(tables=tables, environment={}, name="teiten.toml")


def django_settings(monkeypatch: pytest.MonkeyPatch, **portal: Any) -> dict[str, Any]:
    """Run the settings module anew, beside the one that this process uses."""
    monkeypatch.setattr(config, "_active", config.read(source(portal=portal), secret_key="k" * 48))
    return runpy.run_path(str(Path(boot.__file__).with_name("settings.py")))


def test_the_secret_key_is_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "data" / "portal-secret.key"

    first = boot.read_or_create_secret(path)

    assert boot.read_or_create_secret(path) == first
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(first) >= 64
    assert list(path.parent.iterdir()) == [path]


def test_two_processes_that_start_together_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        secrets = set(threads.map(lambda _: boot.read_or_create_secret(tmp_path / "key"), range(8)))

    assert len(secrets) == 1


@pytest.mark.parametrize(
    ("content", "mode", "rule"),
    [
        (b"k" * 64, 0o644, "open to others"),
        (b"k" * 64, 0o640, "chmod 600"),
        (b"", 0o600, "empty or cut short"),
        (b"short", 0o600, "empty or cut short"),
        (b"\xff" * 64, 0o600, "cannot be read"),
    ],
)
def test_a_bad_key_file_is_refused(tmp_path: Path, content: bytes, mode: int, rule: str) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(mode)

    with pytest.raises(SettingsError, match=rule) as refusal:
        boot.read_or_create_secret(path)

    assert str(path) in str(refusal.value)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(SettingsError, match="cannot be made"):
        boot.read_or_create_secret(tmp_path / "file" / "key")


@pytest.mark.parametrize(
    ("tables", "rule"),
    [
        ({"portal": {"host": "0.0.0.0"}}, "passwords would travel in clear"),
        ({"portal": {"host": "teiten.example"}}, "https = true"),
        ({"site": {"zone": "Asia/Tokio"}}, "Asia/Tokio"),
        ({"site": {"language": "fr"}}, "site.language"),
        ({"portal": {"colour": "red"}}, "portal.colour"),
        ({"accounts": {"attempts_per_user": "many"}}, "attempts_per_user"),
    ],
)
def test_bad_settings_name_themselves(tables: dict[str, Any], rule: str) -> None:
    with pytest.raises(SettingsError, match=rule):
        config.read(source(**tables))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_plain_http_is_for_loopback(host: str) -> None:
    assert config.read(source(portal={"host": host})).portal.host == host


def test_without_a_database_nothing_starts(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="TEITEN_DATABASE_URL"):
        boot.start_django(source(site={"data_dir": str(tmp_path)}))


def test_cookies_are_bound_to_https(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = django_settings(monkeypatch, https=True, host="0.0.0.0")

    for cookie in ("SESSION", "CSRF", "LANGUAGE"):
        assert settings[f"{cookie}_COOKIE_NAME"].startswith("__Host-")
        assert settings[f"{cookie}_COOKIE_SECURE"]
    assert settings["SECURE_HSTS_SECONDS"] >= 31_536_000
    assert settings["SESSION_COOKIE_HTTPONLY"]


def test_plain_loopback_has_plain_cookies(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = django_settings(monkeypatch)

    assert settings["SESSION_COOKIE_NAME"] == "teiten-session"
    assert not settings["SESSION_COOKIE_SECURE"]
    assert settings["LANGUAGE_CODE"] == "ja"
    assert settings["TIME_ZONE"] == "Asia/Tokyo"
    assert settings["DEBUG"] is False


def test_the_stamp_follows_the_files(tmp_path: Path) -> None:
    from teiten.portal.static_files import stamp_of

    (tmp_path / "a.css").write_text("a")
    first = stamp_of(tmp_path)
    assert stamp_of(tmp_path) == first
    (tmp_path / "a.css").write_text("b")
    second = stamp_of(tmp_path)
    (tmp_path / "a.css").rename(tmp_path / "b.css")

    assert len({first, second, stamp_of(tmp_path)}) == 3
