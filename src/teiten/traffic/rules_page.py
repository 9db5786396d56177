"""The page ``docs/rules.md``, made from the rules themselves.

Print it with ``python -m teiten.traffic.rules_page``.
"""

from __future__ import annotations

import sys
from inspect import cleandoc

from teiten.traffic import fingerprints, nature
from teiten.traffic.hints import RULES
from teiten.traffic.nature import Nature
from teiten.traffic.probes import load_probes
from teiten.traffic.rules import RULE_VERSION

_HEAD = f"""\
# Rules

This page is made from the rules in `src/teiten/traffic/`; `make docs` writes it anew. Rule version
now: **{RULE_VERSION}**. Each row in the store keeps the version that judged it.

A hint says that one packet looks as a tool's own formula makes it. It is no verdict: those are
formed per source and day from many packets.
"""


def render() -> str:
    """Give the page as Markdown."""
    parts = [_HEAD, _render_hints(), _render_nature(), _render_probes(), _render_fingerprint()]
    return "\n".join(parts)


def _render_hints() -> str:
    rows = [
        f"| {rule.hint.value} | {rule.name} | {rule.meaning} | {rule.since_version} | {rule.source} |"
        for rule in RULES
    ]
    head = "| bit | label | matches | since version | source |\n|---|---|---|---|---|"
    return f"## Hints\n\n{head}\n" + "\n".join(rows) + "\n"


def _render_nature() -> str:
    values = "\n".join(f"| {value.value} | `{value.name}` |" for value in Nature)
    text = _drop_title(nature.__doc__)
    return f"## Nature\n\n| value | name |\n|---|---|\n{values}\n\n{text}\n"


def _render_probes() -> str:
    rows = [
        f"| {rule.port} | {rule.label} | {rule.source} |" for rule in load_probes().rules if rule.is_trigger
    ]
    head = "| UDP port | probe | source |\n|---|---|---|"
    also = "Any UDP to ports 17 and 19 counts too, and DNS questions of type ANY or TXT to port 53."
    return f"## Reflection triggers\n\n{head}\n" + "\n".join(rows) + f"\n\n{also}\n"


def _render_fingerprint() -> str:
    return f"## TCP fingerprint\n\n{_drop_title(fingerprints.__doc__)}\n"


def _drop_title(docstring: str | None) -> str:
    """Give a module's docstring without its first paragraph."""
    return cleandoc(docstring or "").partition("\n\n")[2].replace("``", "`")


if __name__ == "__main__":
    sys.stdout.write(render())
