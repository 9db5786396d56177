"""How fast something goes round, as it is typed."""

from __future__ import annotations

from teiten.cli.errors import CliError


def read_stages(text: str) -> tuple[int, ...]:
    """Read ``1,10,50,100``; whether they are good stages is for the roll-out to say.

    Raises:
        CliError: when these are no whole numbers.
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise CliError(f"--stages {text!r:.60} must be percentages such as 1,10,50,100") from error
