"""What panels share: made once, kept for a while, never a failure, never another viewer's."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.foundation.clock import FixedClock
from teiten.search import calendars
from teiten.search.config import SearchConfig
from teiten.search.desk import Desk
from teiten.search.doors import ObservationStore
from teiten.search.query import Query
from teiten.search.remembering import Memory
from teiten.search.visibility import for_viewer

pytestmark = pytest.mark.requirement("R2.3")

SECRET = b"s" * 32


class Key:
    """A key that tells when it is looked up: whoever has looked twice waits, or makes the answer."""

    def __init__(self) -> None:
        self.looked_up = threading.Semaphore(0)

    def __hash__(self) -> int:
        self.looked_up.release()
        return 1


class Kitchen:
    """Makes one answer after another, and the first when it may."""

    def __init__(self, *, first_fails: bool = False) -> None:
        self.made = 0
        self.may_go_on = threading.Event()
        self._first_fails = first_fails

    def make(self) -> int:
        self.made += 1
        assert self.may_go_on.wait(10)
        if self._first_fails and self.made == 1:
            raise OSError("away")
        return self.made


def ask_together(memory: Memory, kitchen: Kitchen, *, at: list[float]) -> list[object]:
    """Ask at these instants, each while the first asker's answer is being made."""
    key, found = Key(), list[object]()

    def ask(now: float) -> None:
        try:
            found.append(memory.recall(key, now=now, keep_seconds=2, make=kitchen.make))
        except OSError as error:
            found.append(str(error))

    threads = [threading.Thread(target=ask, args=(now,)) for now in at]
    for thread in threads:
        thread.start()
        for _ in range(2):
            assert key.looked_up.acquire(timeout=10)
    kitchen.may_go_on.set()
    for thread in threads:
        thread.join(10)
    return found


def test_whoever_asks_meanwhile_gets_the_same_however_long_it_takes() -> None:
    # The last two come when the answer, once it is there, will be older than it may be kept.
    assert ask_together(Memory(), Kitchen(), at=[0.0, 2.5, 2.6]) == [1, 1, 1]


def test_a_failure_is_kept_by_nobody_and_leaves_nothing() -> None:
    memory = Memory()

    def fail() -> int:
        raise OSError("away")

    for number in range(3):
        with pytest.raises(OSError, match="away"):
            memory.recall(number, now=0, keep_seconds=60, make=fail)

    assert not memory._making
    assert memory.recall(0, now=0, keep_seconds=60, make=lambda: 7) == 7


def test_who_waited_for_a_failure_asks_again() -> None:
    found = ask_together(Memory(), Kitchen(first_fails=True), at=[0.0, 0.1])

    assert sorted(map(str, found)) == ["2", "away"]


def test_what_is_too_old_to_be_given_is_let_go() -> None:
    memory = Memory()
    memory.recall("short", now=0, keep_seconds=2, make=lambda: bytes(10))
    memory.recall("long", now=0, keep_seconds=300, make=lambda: bytes(10))

    memory.recall("other", now=3, keep_seconds=2, make=lambda: b"")

    assert list(memory._answers) == ["long", "other"]


@given(st.lists(st.tuples(st.integers(0, 999), st.integers(0, 60), st.integers(0, 3)), max_size=400))
@settings(max_examples=20, deadline=None)
def test_no_answer_is_older_than_it_may_be_and_few_are_kept(asked: list[tuple[int, int, int]]) -> None:
    memory, now = Memory(), 0

    for key, keep_seconds, passing in asked:
        now += passing
        made_at = memory.recall(key, now=now, keep_seconds=keep_seconds, make=lambda now=now: now)  # type: ignore[misc]
        assert 0 <= now - made_at <= keep_seconds
        assert len(memory._answers) <= 256


def test_viewers_who_may_be_told_different_things_share_nothing() -> None:
    member = for_viewer("member", organisation_id=1, secret=SECRET, own_sensors=[4])
    viewers = [
        member,
        for_viewer("member", organisation_id=2, secret=SECRET, own_sensors=[4]),
        for_viewer("member", organisation_id=1, secret=b"t" * 32, own_sensors=[4]),
        for_viewer("member", organisation_id=1, secret=SECRET, own_sensors=[4, 5]),
        for_viewer("member", organisation_id=1, secret=SECRET, own_sensors=[4], least_sensors=5),
        for_viewer("member", organisation_id=1, secret=SECRET, own_sensors=[4], member_level="aggregate"),
        member.for_own_sensors(),
        for_viewer("analyst"),
        for_viewer("analyst", may_see_payload=True),
    ]

    assert len({viewer.cache_key for viewer in viewers}) == len(viewers)
    assert for_viewer("operator").cache_key == for_viewer("analyst").cache_key
    assert replace(member, recorder=None).cache_key == member.cache_key


def test_a_calendar_as_members_see_it_is_not_an_analyst_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is expected is judged from now, and for members from the end of their period."""
    desk = Desk(
        store=cast("ObservationStore", None),
        clock=FixedClock(datetime(2026, 11, 21, tzinfo=timezone.utc)),
        config=SearchConfig(),
        zone="Asia/Tokyo",
        workers=cast("ThreadPoolExecutor", None),
    )
    monkeypatch.setattr(calendars, "_observe_days", lambda _desk, _viewer, query, _window: query.is_guarded)
    midnight = datetime(2026, 11, 20, 15, tzinfo=timezone.utc)
    query = Query("live", midnight - timedelta(days=1), midnight)

    for is_guarded in (False, True, False):
        asked = replace(query, is_guarded=is_guarded)
        assert calendars.observe_days(desk, for_viewer("analyst"), asked) is is_guarded  # type: ignore[comparison-overlap]  # the patch above


def test_every_answer_that_is_kept_says_whose_it_is() -> None:
    """``Desk.remember`` asks for the viewer; nobody goes past it."""
    folder = Path(calendars.__file__).parent
    past = [path.name for path in folder.glob("*.py") if "memory.recall" in path.read_text(encoding="utf-8")]

    assert past == ["desk.py"]
