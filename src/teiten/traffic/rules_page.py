"""The page ``docs/rules.md``, made from the rules themselves.

Print it with ``python -m teiten.traffic.rules_page``.
"""

from __future__ import annotations

import math
import sys
from inspect import cleandoc

from teiten.foundation.clock import from_us
from teiten.traffic import behaviour, dns_questions, fingerprints, nature, probes, validity, verdicts
from teiten.traffic.hints import RULES
from teiten.traffic.nature import Nature
from teiten.traffic.probes import load_probes
from teiten.traffic.rule_figures import render_figures
from teiten.traffic.rules import CHANGES, RULE_VERSION

_PROTOCOLS = {probes.TCP: "tcp", probes.UDP: "udp"}
_BOGONS = validity.load_bogons().rows

_HEAD = f"""\
# Rules

This page is made from the rules in `src/teiten/traffic/`; `make docs` writes it anew. Rule version
now: **{RULE_VERSION}**. Each row in the store keeps the version that judged it.

A hint says that one packet looks as a tool's own formula makes it. It is no verdict: those are
formed per source and day from many packets.
"""


def render() -> str:
    """Give the page as Markdown."""
    parts = [
        _HEAD,
        _render_changes(),
        _render_hints(),
        _render_verdicts(),
        render_figures(),
        _render_behaviour(),
        _render_nature(),
        _render_validity(),
        _render_probes(),
        _render_fingerprint(),
    ]
    return "\n".join(parts)


def _render_changes() -> str:
    rows = [f"| {version} | {text} |" for version, text in sorted(CHANGES.items(), reverse=True)]
    return "## Versions\n\n| version | what changed |\n|---|---|\n" + "\n".join(rows) + "\n"


def _render_verdicts() -> str:
    rows = [f"| {rule.name} | {_write_chance(rule.chance)} | {rule.lookalikes:g} |" for rule in RULES]
    head = "| tool | chance per packet | look-alikes among other sources |\n|---|---|---|"
    also = f"Verdict version now: **{verdicts.VERDICT_VERSION}**. A verdict reads yes from a confidence of {verdicts.YES}."
    text = _drop_title(verdicts.__doc__)
    return f"## Verdicts\n\n{also}\n\n{text}\n\n{head}\n" + "\n".join(rows) + "\n"


def _write_chance(chance: float) -> str:
    return f"2^{round(math.log2(chance))}"


def _render_behaviour() -> str:
    return f"## Surveys by behaviour\n\n{_drop_title(behaviour.__doc__)}\n"


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


def _render_validity() -> str:
    rows = [
        f"| {row.network} | {_write_day(row.valid_from_us)} | {row.source} | {row.reason} |"
        for row in _BOGONS
    ]
    head = "| bogon | from | source | reason |\n|---|---|---|---|"
    return f"## Source validity\n\n{_drop_title(validity.__doc__)}\n\n{head}\n" + "\n".join(rows) + "\n"


def _write_day(at_us: int) -> str:
    return f"{from_us(at_us):%Y-%m-%d}"


def _render_probes() -> str:
    rows = [
        f"| {rule.label} | {'any' if rule.port is None else rule.port}/{_PROTOCOLS[rule.protocol]} | {rule.match} "
        f"| `{rule.pattern}` | {'yes' if rule.is_trigger else ''} | {rule.source} |"
        for rule in load_probes().rules
    ]
    head = "| label | port | match | payload | triggers a reflector | source |\n|---|---|---|---|---|---|"
    dns = ", ".join(f"`{label}`" for label in dns_questions.LABELS)
    also = f"DNS queries that no rule knows are labelled {dns}; those of type ANY or TXT trigger a reflector."
    more = "Any UDP to ports 17 and 19 triggers a reflector too."
    table = f"{head}\n" + "\n".join(rows)
    return f"## Services and probes\n\n{_drop_title(probes.__doc__)}\n\n{also} {more}\n\n{table}\n"


def _render_fingerprint() -> str:
    return f"## TCP fingerprint\n\n{_drop_title(fingerprints.__doc__)}\n"


def _drop_title(docstring: str | None) -> str:
    """Give a module's docstring without its first paragraph."""
    return cleandoc(docstring or "").partition("\n\n")[2].replace("``", "`")


if __name__ == "__main__":
    sys.stdout.write(render())
