"""Promises that every template and script of the portal keeps, read from their text."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PORTAL = Path(__file__).parents[2] / "src" / "teiten" / "portal"
TEMPLATES = sorted((PORTAL / "templates").rglob("*.html"))
SCRIPTS = sorted((PORTAL / "static" / "portal" / "js").rglob("*.js"))
STYLES = sorted((PORTAL / "static" / "portal" / "css").glob("*.css"))
CATALOGUES = {
    language: PORTAL / "locale" / language / "LC_MESSAGES" / "django.po" for language in ("ja", "en")
}
pytestmark = pytest.mark.requirement("R3.1")


def names(paths: list[Path]) -> list[str]:
    return [path.relative_to(PORTAL).as_posix() for path in paths]


@pytest.mark.parametrize("path", TEMPLATES, ids=names(TEMPLATES))
def test_a_template_holds_no_inline_style_script_or_foreign_address(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    assert not re.search(r"\sstyle\s*=", text), "inline style"
    assert not re.search(r"\son[a-z]+\s*=", text), "inline handler"
    assert not re.search(r"\bhx-on\b|\bjs:", text), "htmx would evaluate it"
    assert not re.search(r"""(?:src|href|action)\s*=\s*["']?(?:https?:)?//""", text), "foreign address"
    assert all(re.search(r"\bsrc=", tag) for tag in re.findall(r"<script\b[^>]*>", text)), "inline script"
    assert "|safe" not in text
    assert "autoescape off" not in text


@pytest.mark.parametrize("path", TEMPLATES, ids=names(TEMPLATES))
def test_a_template_says_nothing_untranslated(path: Path) -> None:
    text = re.sub(r"{%\s*(?:blocktranslate|comment)\b.*?{%\s*end(?:blocktranslate|comment)\s*%}", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)  # fmt: skip
    text = re.sub(r"<(svg|kbd|pre)\b.*?</\1>", "", text, flags=re.DOTALL)
    text = re.sub(r"{[{%#].*?[}%#]}", "\x00", text, flags=re.DOTALL)
    words = re.findall(r"[A-Za-z]{3,}", " ".join(re.findall(r">([^<>]*)<", text)))

    assert set(words) - KEPT == set()


#: Names that are the same in every language, or Japanese and English at once.
KEPT = {
    "Teiten",
    "API",
    "SHA",
    "CSV",
    "PNG",
    "NDJSON",
    "Parquet",
    "Arrow",
    "zstd",
    "TTL",
    "tcp",
    "nbsp",
    "ensp",
}


@pytest.mark.parametrize("path", SCRIPTS, ids=names(SCRIPTS))
def test_a_script_is_short_and_makes_no_markup_from_strings(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    assert len(text.splitlines()) <= 180
    assert not re.search(
        r"\b(?:innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval|new Function)\b", text
    )
    assert not re.search(r"https?://", text)


def test_only_one_script_knows_echarts_and_it_forbids_html_tooltips() -> None:
    knowing = [path.name for path in SCRIPTS if "vendor/echarts" in path.read_text(encoding="utf-8")]

    assert knowing == ["canvas.js"]
    canvas = (PORTAL / "static" / "portal" / "js" / "charts" / "canvas.js").read_text(encoding="utf-8")
    # The wrapper's own word comes last, so that no chart can ask for another mode.
    assert canvas.count('renderMode: "richText" };') == 1


def test_every_class_that_is_a_token_is_declared() -> None:
    declared = set(re.findall(r"^\s*--([a-z0-9-]+):", (PORTAL / "static/portal/css/tokens.css").read_text(encoding="utf-8"), re.MULTILINE))  # fmt: skip
    used = {
        name
        for path in STYLES
        for name in re.findall(r"var\(--([a-z0-9-]+)\)", path.read_text(encoding="utf-8"))
    }

    assert used - declared - {"c"} == set()


def test_vendored_files_are_the_recorded_ones() -> None:
    record = (PORTAL / "static" / "vendor" / "VENDORED.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|$", record, re.MULTILINE)

    assert len(rows) >= 4
    for path, digest in rows:
        assert hashlib.sha256((PORTAL / path).resolve().read_bytes()).hexdigest() == digest, path


def read_catalogue(text: str) -> dict[str, tuple[str, ...]]:
    """Give each text of a catalogue with its translations."""
    entries = {}
    for block in re.split(r"\n\s*\n", text):
        parts = {
            name: "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', body))
            for name, body in re.findall(
                r'^(msg\w+(?:\[\d\])?)\s+((?:"(?:[^"\\]|\\.)*"\s*)+)', block, re.MULTILINE
            )
        }
        if parts.get("msgid"):
            key = f"{parts.get('msgctxt', '')}|{parts['msgid']}"
            entries[key] = tuple(value for name, value in parts.items() if name.startswith("msgstr"))
    return entries


def test_every_text_has_its_japanese() -> None:
    text = CATALOGUES["ja"].read_text(encoding="utf-8")
    entries = read_catalogue(text)

    assert "#, fuzzy" not in text
    assert [key for key, translations in entries.items() if not all(translations)] == []
    for key, translations in entries.items():
        wanted = set(re.findall(r"%\(\w+\)s", key))
        assert all(set(re.findall(r"%\(\w+\)s", text)) == wanted for text in translations), key


@pytest.mark.skipif(shutil.which("xgettext") is None, reason="needs gettext")
def test_the_catalogues_hold_the_texts_of_the_code_and_no_others(tmp_path: Path) -> None:
    room = tmp_path / "teiten"
    shutil.copytree(
        PORTAL.parent, room, ignore=shutil.ignore_patterns("*.mo", "vendor", "__pycache__", "*.sql")
    )
    pot = subprocess.run(
        [sys.executable, "-m", "django", "makemessages", "-l", "ja", "--no-location", "--no-wrap", "--keep-pot", "-e", "html,py,txt"],
        cwd=room, capture_output=True, text=True, check=False, timeout=100,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "catalogue_settings", "PYTHONPATH": str(tmp_path)} | _settings(tmp_path, room),
    )  # fmt: skip
    assert pot.returncode == 0, pot.stderr
    found = set(read_catalogue((room / "portal/locale/django.pot").read_text(encoding="utf-8")))

    for catalogue in CATALOGUES.values():
        assert set(read_catalogue(catalogue.read_text(encoding="utf-8"))) == found


def _settings(folder: Path, room: Path) -> dict[str, str]:
    """Write settings that find texts and do nothing else."""
    locale = room / "portal" / "locale"
    (folder / "catalogue_settings.py").write_text(f"USE_I18N = True\nLOCALE_PATHS = [{str(locale)!r}]\n")
    return {}


@pytest.mark.skipif(shutil.which("msgfmt") is None, reason="needs gettext")
@pytest.mark.parametrize("language", ["ja", "en"])
def test_the_compiled_catalogue_is_that_of_the_text(tmp_path: Path, language: str) -> None:
    compiled = tmp_path / "django.mo"
    subprocess.run(["msgfmt", "-o", compiled, CATALOGUES[language]], check=True, timeout=30)

    assert compiled.read_bytes() == CATALOGUES[language].with_suffix(".mo").read_bytes()
