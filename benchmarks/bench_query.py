"""Queries: every screen's questions on 100 million packets and a year of roll-ups.

The questions go through ``teiten.search.service.Search`` as the portal asks them, alone and
four at once, as an analyst and as a member; what masking costs is the ratio of the two.
Every round begins with a new ``Search``, so no answer is remembered (cold); then the same is asked
of it once more (identical). Another ``Search`` is asked for the period an hour earlier first, so that
it has answered questions, but never this one (new). DuckDB answers the
main statement of some screens on the same packets, if it is installed.

``BENCH_FOLDER`` names a folder in which the store is kept: one that was made is used again,
one that was cut short goes on. ``BENCH_ROUNDS`` is how often each screen is asked (10).
``BENCH_SCREENS`` names the screens that are asked, with ``;`` between them (all).
``BENCH_SMALL=1`` is a short form (300,000 packets).
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import query_peers
from query_screens import Screen, list_screens, question_over
from query_traffic import END_AT, FULL, FULL_DAY, SMALL, Maker, Scale
from teiten.foundation.clock import FixedClock
from teiten.search.config import SearchConfig
from teiten.search.errors import SearchError
from teiten.search.service import Search
from teiten.search.visibility import Visibility, for_viewer
from teiten.store.config import StoreConfig
from teiten.store.schema import COVERAGE_ROLLUPS, PACKET_ROLLUPS
from teiten.store.service import Store

IS_SMALL = os.environ.get("BENCH_SMALL") == "1"
SCALE: Scale = SMALL if IS_SMALL else FULL
ROUNDS = 0 if IS_SMALL else int(os.environ.get("BENCH_ROUNDS", "10"))
AT_ONCE = 4
#: Panels of one screen that the portal asks side by side (``portal.asking``).
PANELS_AT_ONCE = 4
NEEDED_BYTES = 15 << 30
#: Two hours after the data end, so that a member's delay does not cut them.
CLOCK = FixedClock(END_AT + timedelta(hours=2))
VIEWERS: dict[str, Visibility] = {
    "analyst": for_viewer("analyst", may_see_payload=True),
    "member": for_viewer("member", organisation_id=1, secret=b"bench"),
}


@dataclass
class Times:
    """Milliseconds of one screen for one viewer."""

    alone: list[float] = field(default_factory=list)
    #: Processor time of the first, all threads: what is left when others use the machine too.
    processor: list[float] = field(default_factory=list)
    #: The same asked again of the same ``Search``.
    warm: list[float] = field(default_factory=list)
    #: Asked of a ``Search`` that was asked for the period an hour earlier before; and its processor time.
    new: list[float] = field(default_factory=list)
    new_processor: list[float] = field(default_factory=list)
    at_once: list[float] = field(default_factory=list)
    problem: str = ""


class Runner:
    """Asks screens and takes the time."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def ask(self, screen: Screen, viewer: Visibility, *, note: Times | None = None) -> float:
        """Ask all questions of a screen side by side, and give the milliseconds until the last answer."""
        search = Search(self._store, CLOCK, SearchConfig())
        used = time.process_time()
        try:
            milliseconds = self._ask(search, screen, viewer)
            if note is not None:
                note.processor.append(1_000 * (time.process_time() - used))
                note.alone.append(milliseconds)
                note.warm.append(self._ask(search, screen, viewer))
            return milliseconds
        finally:
            search.close()

    def ask_new(self, screen: Screen, viewer: Visibility, *, note: Times) -> None:
        """Ask what was never asked, of a ``Search`` that has answered the same an hour earlier."""
        search = Search(self._store, CLOCK, SearchConfig())
        try:
            self._ask(search, screen, viewer, shift_hours=1)
            used = time.process_time()
            note.new.append(self._ask(search, screen, viewer))
            note.new_processor.append(1_000 * (time.process_time() - used))
        finally:
            search.close()

    @staticmethod
    def _ask(search: Search, screen: Screen, viewer: Visibility, *, shift_hours: int = 0) -> float:
        began = time.perf_counter()
        end = END_AT - timedelta(hours=screen.ends_before + shift_hours)
        questions = screen.ask(search, viewer, question_over(end, screen.hours))
        with ThreadPoolExecutor(PANELS_AT_ONCE) as workers:
            waiting = [workers.submit(question) for question in questions]
            for one in waiting:
                one.result()
        return 1_000 * (time.perf_counter() - began)

    def measure(self, screen: Screen) -> dict[str, Times]:
        """Measure a screen for every viewer who has it, alternating them."""
        found = {name: Times() for name in VIEWERS if name == "analyst" or screen.for_members}
        for name, times in found.items():
            try:
                first = self.ask(screen, VIEWERS[name])
            except SearchError as error:
                times.problem = f"{type(error).__name__}: {error}"[:200]
            else:
                times.alone = [first] if IS_SMALL else []  # the first round warms the caches of files
        asked = [name for name, times in found.items() if not times.problem]
        for _ in range(ROUNDS):
            for name in asked:
                self.ask(screen, VIEWERS[name], note=found[name])
                if name == "analyst":
                    self.ask_new(screen, VIEWERS[name], note=found[name])
        if "analyst" in asked and (ROUNDS or screen.name == "overview"):
            with ThreadPoolExecutor(AT_ONCE) as users:
                again = [
                    users.submit(self.ask, screen, VIEWERS["analyst"])
                    for _ in range(AT_ONCE * max(1, ROUNDS // 2))
                ]
                found["analyst"].at_once = [one.result() for one in again]
        return found


def describe(found: dict[str, Times]) -> str:
    """Say in a line what was measured so far."""
    parts = [
        f"{name} {times.problem or f'{statistics.median(times.alone):.0f} ms'}"
        for name, times in found.items()
        if times.problem or times.alone
    ]
    at_once = found["analyst"].at_once
    return ", ".join(
        [*parts, *([f"{AT_ONCE} at once {statistics.median(at_once):.0f} ms"] if at_once else [])]
    )


def percentile(values: Sequence[float], share: float) -> float:
    """Give the nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def measure_bytes(store: Store) -> dict[str, object]:
    """Count the bytes per packet of the whole day's partitions, by column and by roll-up."""
    day = FULL_DAY.isoformat()
    rows = store.select(
        "SELECT count() AS n FROM packets WHERE toDate(observed_at, 'Asia/Tokyo') = {day:Date}",
        {"day": FULL_DAY},
        role="maintenance",
    )["n"][0].as_py()
    parts = store.select(
        "SELECT table, column, sum(column_data_compressed_bytes) AS b FROM system.parts_columns"
        " WHERE active AND database = currentDatabase() AND position(partition, {day:String}) > 0"
        " GROUP BY table, column",
        {"day": day},
        role="maintenance",
    ).to_pylist()
    sizes = store.select(
        "SELECT table, sum(data_compressed_bytes) AS b, sum(rows) AS n FROM system.parts"
        " WHERE active AND database = currentDatabase() AND position(partition, {day:String}) > 0 GROUP BY table",
        {"day": day},
        role="maintenance",
    ).to_pylist()
    by_table = {one["table"]: one["b"] / rows for one in sizes}
    columns = {
        f"{one['table']}.{one['column']}": one["b"] / rows
        for one in parts
        if one["table"] in (*PACKET_ROLLUPS, "packets")
    }
    largest = dict(sorted(columns.items(), key=lambda pair: -pair[1]))
    return {
        "rows": rows,
        "raw": by_table["packets"],
        "rollups": {table: by_table.get(table, 0.0) for table in PACKET_ROLLUPS},
        "coverage": {table: by_table.get(table, 0.0) for table in ("coverage", *COVERAGE_ROLLUPS)},
        "columns": {name.removeprefix("packets."): size for name, size in largest.items() if name.startswith("packets.")},
        "rollup_columns": {name: size for name, size in largest.items() if not name.startswith("packets.") and size >= 0.05},
        "rollup_rows": {one["table"]: one["n"] for one in sizes if one["table"] in PACKET_ROLLUPS},
    }  # fmt: skip


def find_sources(store: Store) -> tuple[str, str]:
    """Name the source that sends most, and one that sends little."""
    rows = store.select(
        "SELECT IPv6NumToString(src_addr) AS text, sum(packets) AS n FROM sources_1d"
        " WHERE day = {day:Date} GROUP BY src_addr ORDER BY n DESC LIMIT 1"
        " UNION ALL SELECT IPv6NumToString(src_addr) AS text, sum(packets) AS n FROM sources_1d"
        " WHERE day = {day:Date} GROUP BY src_addr HAVING n = 5 LIMIT 1",
        {"day": FULL_DAY},
        role="maintenance",
    ).to_pylist()
    ordered = sorted(rows, key=lambda row: -row["n"])
    return tuple(row["text"].removeprefix("::ffff:") for row in (ordered[0], ordered[-1]))  # type: ignore[return-value]  # two rows, as asked for


def report(
    screens: Sequence[Screen], measured: dict[str, dict[str, Times]], peers: dict[str, float]
) -> dict[str, object]:
    kinds = {screen.name: screen.kind for screen in screens}
    print(
        f"\n{'screen':26}{'kind':>8}{'p50 ms':>9}{'p95 ms':>9}{'p95 at 4':>10}{'cpu ms':>9}{'new p50':>9}{'new cpu':>9}{'same p50':>10}{'member p50':>12}{'duckdb':>9}"
    )
    answers: dict[str, dict[str, object]] = {}
    for name, by_viewer in measured.items():
        analyst, member = by_viewer["analyst"], by_viewer.get("member", Times())
        if not analyst.alone:
            print(f"{name:26}{kinds[name]:>8}  failed: {analyst.problem}")
            answers[name] = {"problem": analyst.problem}
            continue
        answers[name] = {
            "kind": kinds[name],
            "p50_ms": round(statistics.median(analyst.alone), 1),
            "p95_ms": round(percentile(analyst.alone, 0.95), 1),
            "p95_ms_at_4": round(percentile(analyst.at_once or analyst.alone, 0.95), 1),
            "processor_p50_ms": round(statistics.median(analyst.processor), 1) if analyst.processor else None,
            "warm_p50_ms": round(statistics.median(analyst.warm), 1) if analyst.warm else None,
            "new_p50_ms": round(statistics.median(analyst.new), 1) if analyst.new else None,
            "new_processor_p50_ms": round(statistics.median(analyst.new_processor), 1)
            if analyst.new_processor
            else None,
            "peers": {"duckdb": {"p50_ms": peers[name]}} if name in peers else {},
        }
        if member.alone:
            answers[name]["member_p50_ms"] = round(statistics.median(member.alone), 1)
        elif member.problem:
            answers[name]["member_problem"] = member.problem
        shown = answers[name]
        print(
            f"{name:26}{kinds[name]:>8}{shown['p50_ms']:>9}{shown['p95_ms']:>9}{shown['p95_ms_at_4']:>10}"
            f"{shown['processor_p50_ms'] or '-':>9}{shown['new_p50_ms'] or '-':>9}{shown['new_processor_p50_ms'] or '-':>9}"
            f"{shown['warm_p50_ms'] or '-':>10}{shown.get('member_p50_ms', '-'):>12}{peers.get(name, '-'):>9}"
        )
    return {**_worst(answers), "screens": answers, **_masking(answers)}


def _worst(answers: dict[str, dict[str, object]]) -> dict[str, object]:
    def worst(kind: str, figure: str) -> float:
        return max((float(one[figure]) for one in answers.values() if one.get("kind") == kind), default=0.0)  # type: ignore[arg-type]  # figures of many kinds

    return {
        "worst_rollup_p95_ms": worst("rollup", "p95_ms"),
        "worst_rollup_p95_ms_at_4": worst("rollup", "p95_ms_at_4"),
        "worst_source_p95_ms": worst("source", "p95_ms"),
        "worst_raw_p95_ms": worst("raw", "p95_ms"),
    }


def _masking(answers: dict[str, dict[str, object]]) -> dict[str, object]:
    """Compare the sums of medians over the screens of roll-ups that both viewers have."""
    both = [one for one in answers.values() if one.get("kind") == "rollup" and "member_p50_ms" in one]
    real = sum(float(one["p50_ms"]) for one in both)  # type: ignore[arg-type]  # figures of many kinds
    masked = sum(float(one["member_p50_ms"]) for one in both)  # type: ignore[arg-type]  # figures of many kinds
    return {"masking_ratio": round(masked / real, 3) if real else None}


def print_bytes(sizes: dict[str, object]) -> None:
    for title, key in (
        ("roll-up", "rollups"), ("coverage", "coverage"), ("column of packets", "columns"), ("column of a roll-up", "rollup_columns"),
    ):  # fmt: skip
        print(f"\nbytes per packet by {title} ({sizes['rows']:,} packets of {FULL_DAY})")
        for name, size in sorted(sizes[key].items(), key=lambda pair: -pair[1]):  # type: ignore[attr-defined]  # figures of many kinds
            rows = sizes["rollup_rows"].get(name)  # type: ignore[attr-defined]  # figures of many kinds
            print(f"  {name:36}{size:>8.3f}" + (f"{rows:>14,} rows" if rows else ""))


def measure_all(store: Store, folder: Path) -> dict[str, object]:
    """Ask every screen that is wanted, and the peers where all of them are."""
    busy, quiet = find_sources(store)
    wanted = [name.strip() for name in os.environ.get("BENCH_SCREENS", "").split(";") if name.strip()]
    runner = Runner(store)
    screens = [one for one in list_screens(busy, quiet) if not wanted or one.name in wanted]
    measured = {}
    for screen in screens:
        measured[screen.name] = runner.measure(screen)
        print(f"{screen.name}: {describe(measured[screen.name])}", file=sys.stderr, flush=True)
    peers = {} if wanted else query_peers.measure(store, folder, end=END_AT, busy=busy, rounds=ROUNDS or 1)
    return report(screens, measured, peers)


def print_summary(answer: dict[str, object], sizes: dict[str, object], *, made_seconds: float) -> None:
    rollups: dict[str, float] = sizes["rollups"]  # type: ignore[assignment]  # figures of many kinds
    print(
        f"\n{SCALE.packets:,} packets in {SCALE.hours} h from {SCALE.sensors:,} sensors; {SCALE.days} older days as daily roll-ups"
        f" of 1/{SCALE.thinning} of a day's packets, {SCALE.hourly_days} of them hourly too; coverage of all sensors on each"
    )
    summary = {
        "bench": "query",
        "rows": SCALE.per_hour * SCALE.hours,
        **answer,
        "bytes_per_row_raw": round(float(sizes["raw"]), 2),  # type: ignore[arg-type]  # figures of many kinds
        "bytes_per_row_rollups": round(sum(rollups.values()), 2),
        "bytes_by_rollup": {name: round(size, 3) for name, size in rollups.items()},
        "bytes_by_column": {name: round(size, 3) for name, size in sizes["columns"].items()},  # type: ignore[attr-defined]  # figures of many kinds
        "older_days": {"days": SCALE.days, "hourly_days": SCALE.hourly_days, "thinning": SCALE.thinning},
        "made_seconds": round(made_seconds),
        "rounds": ROUNDS or 1,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
    }
    print(json.dumps(summary))


def main() -> None:
    named = os.environ.get("BENCH_FOLDER")
    folder = Path(named) if named else Path(tempfile.mkdtemp(prefix="teiten-bench-query-"))
    folder.mkdir(parents=True, exist_ok=True)
    if not IS_SMALL and shutil.disk_usage(folder).free < NEEDED_BYTES and not (folder / "made.json").exists():
        raise SystemExit(f"{folder} needs {NEEDED_BYTES >> 30} GiB free; name another with BENCH_FOLDER")
    store = Store.open(StoreConfig(path=str(folder / "store")), CLOCK)
    try:
        began = time.monotonic()
        Maker(store, folder, SCALE).make()
        made_seconds = time.monotonic() - began
        sizes = measure_bytes(store)
        print_bytes(sizes)
        answer = measure_all(store, folder)
    finally:
        store.close()
        if not named:
            shutil.rmtree(folder, ignore_errors=True)
    print_summary(answer, sizes, made_seconds=made_seconds)


if __name__ == "__main__":
    main()
