"""The house rules that no linter knows: sizes, names, addresses, and what must not be committed."""

from __future__ import annotations

import ast
import ipaddress
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULE_LINES = 400
FUNCTION_LINES = 50
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "core", "misc", "types"}
DOCUMENTATION_RANGES = [
    ipaddress.ip_network(text)
    for text in (
        "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24",  # RFC 5737
        "240.0.0.0/4", "127.0.0.0/8", "0.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
        "100.64.0.0/10", "169.254.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "192.88.99.0/24", "192.0.0.0/24",
    )
]  # fmt: skip
# Not the number of a section, such as §2.5.5.2.
IPV4 = re.compile(r"(?<![\d.§])(\d{1,3}(?:\.\d{1,3}){3})(?![\d.])")


def tracked(*suffixes: str) -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [
        ROOT / name
        for name in listing.stdout.split("\n")
        if name.endswith(suffixes) and (ROOT / name).is_file()
    ]


def own_text() -> list[Path]:
    names = tracked(
        ".py", ".sql", ".md", ".toml", ".html", ".css", ".js", ".sh", "Makefile", ".in", ".txt", ".yml"
    )
    return [path for path in names if "vendor" not in path.parts]


@pytest.mark.parametrize("path", tracked(".py"), ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_functions_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    is_source = path.is_relative_to(ROOT / "src") and "migrations" not in path.parts

    assert not is_source or text.count("\n") <= MODULE_LINES
    if is_source:
        long = [
            f"{node.name} ({node.end_lineno - node.lineno + 1} lines)"
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.end_lineno - node.lineno + 1 > FUNCTION_LINES
        ]
        assert not long


def test_no_folder_or_module_has_a_name_that_says_nothing() -> None:
    bad = [
        p
        for p in tracked(".py")
        if BANNED_NAMES & {part.removesuffix(".py") for part in p.relative_to(ROOT).parts}
    ]

    assert not bad


def test_no_address_of_a_stranger_is_written_down() -> None:
    found = []
    for path in own_text():
        for text in IPV4.findall(path.read_text(encoding="utf-8")):
            try:
                address = ipaddress.ip_address(text)
            except ValueError:
                continue
            if not any(address in network for network in DOCUMENTATION_RANGES):
                found.append(f"{path.relative_to(ROOT)}: {address}")

    assert not found


def test_no_index_address_and_no_path_of_a_machine_is_committed() -> None:
    pattern = re.compile(
        r"--(extra-)?index-url|https?://[^\s]*(pypi|npmjs)[^\s]*/simple|/work/main|/root/|/home/[a-z]+/"
    )
    found = [
        f"{path.relative_to(ROOT)}: {match.group(0)}"
        for path in [*own_text(), *tracked(".lock", "package-lock.json")]
        if path != Path(__file__)
        for match in [pattern.search(path.read_text(encoding="utf-8"))]
        if match
    ]

    assert not found


def test_every_lock_line_has_hashes() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        pins = re.findall(r"^[a-z0-9._-]+(?:\[[^\]]+\])?==\S+.*$", path.read_text(), re.MULTILINE)

        assert pins
        assert all(pin.endswith("\\") for pin in pins), path


def test_every_test_of_a_promise_names_a_known_requirement() -> None:
    known = set(
        re.findall(r"^\| (R\d\.?\d?) \|", (ROOT / "docs/design.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    named = {
        requirement
        for path in tracked(".py")
        if path.is_relative_to(ROOT / "tests")
        for call in re.findall(r"mark\.requirement\(([^)]*)\)", path.read_text(encoding="utf-8"))
        for requirement in re.findall(r"R\d(?:\.\d)?", call)
    }

    assert named
    assert named <= known


#: An exemption from a check: which one, and after that why.
EXEMPTION = re.compile(r"#\s*(?:noqa: [A-Z]+\d+(?:, [A-Z]+\d+)*|type: ignore\[[a-z, -]+\])(?P<why>.*)")


def test_every_exemption_from_a_check_says_which_and_why() -> None:
    unexplained = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked(".py")
        if path.relative_to(ROOT).parts[0] in ("src", "benchmarks") and "migrations" not in path.parts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(r"#\s*(?:noqa|type: ignore)", line)
        and not ((found := EXEMPTION.search(line)) and re.search(r"\w", found["why"]))
    ]

    assert not unexplained
