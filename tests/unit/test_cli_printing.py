"""What sensors wrote is shown as text, whatever it says."""

from __future__ import annotations

import pytest

from teiten.cli import printing

pytestmark = pytest.mark.requirement("R2.1")


@pytest.mark.parametrize(
    "written", ["[/]", "[conceal]a[/conceal]", "[link=https://evil.example]ok[/link]", ":warning:", "[red]x"]
)
def test_a_terminal_shows_what_a_sensor_wrote_as_it_stands(
    written: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sensor's last error is text: it colours, hides and links nothing, and breaks no table."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    printing.print_table(("sensor", "last error"), [("TK-001", written)])

    assert written in capsys.readouterr().out


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_contact_called_like_an_escape_moves_no_cursor(
    is_terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Members choose the names of their contacts, and operators list them."""
    if is_terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("NO_COLOR", "1")
    printing.print_table(("contact", "name"), [(1, "night\x1b[2J\x1b]0;x\x07\nshift")])

    shown = capsys.readouterr().out
    assert "night" in shown
    assert "[2J" in shown
    assert "\x1b[2J" not in shown
    assert "\x1b]" not in shown
