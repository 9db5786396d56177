"""`teiten hold|erase|exclude|survey|note|name` as typed, over a real PostgreSQL and a real store."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import pytest

from teiten.cli import care, custody_commands, dataset_commands, parser, user_commands, wiring
from teiten.cli.errors import CliError
from teiten.cli.installation import Installation as RealInstallation
from teiten.custody.errors import CustodyInputError, LegalHoldError
from teiten.foundation.clock import FixedClock
from teiten.foundation.settings import Source
from teiten.portal.testing import Cast
from teiten.store import writer
from teiten.store.service import Store
from teiten.store.testing import make_coverage, make_packets, temporary_store
from teiten.store.writer import BlockRows

sys.path.insert(0, str(Path(__file__).parent))
from custody_fixtures import DAY, NOW, make_sensor

pytestmark = pytest.mark.requirement("R0.1", "R2.2", "R5.1")
HOUR = timedelta(hours=1)
Type = Callable[..., str]


@pytest.fixture
def store(clock: FixedClock) -> Iterator[Store]:
    with temporary_store(clock) as opened:
        yield opened


def make_installation(clock: FixedClock, folder: Path) -> type[SimpleNamespace]:
    """Give an installation's class whose folders lie in ``folder``, and whose Django is set up already."""
    settings = RealInstallation(Source({"site": {"data_dir": str(folder)}}, {}, "the test"), clock)

    class Installation(SimpleNamespace):
        def __init__(self, _source: object) -> None:
            super().__init__(
                clock=clock,
                site=settings.site,
                section=settings.section,
                place_dir=folder / "places",
                releases_dir=folder / "releases",
                audit_dir=folder / "audit",
                landing_config=settings.landing_config,
            )

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            """Have nothing to close."""

        def start_django(self) -> None:
            """Be set up already."""

    return Installation


@pytest.fixture
def type_words(
    cast: Cast,
    store: Store,
    clock: FixedClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Type:
    """Type a verb; its installation is the test's database, store and clock."""
    made = make_installation(clock, tmp_path)
    modules = {
        "care": care,
        "custody_commands": custody_commands,
        "dataset_commands": dataset_commands,
        "user_commands": user_commands,
    }
    for module in modules.values():
        monkeypatch.setattr(module, "Installation", made)
    monkeypatch.setattr(wiring, "migrate", lambda _: None)
    monkeypatch.setattr(wiring, "open_store", lambda _: store)
    monkeypatch.setattr(store, "close", lambda: None)

    def run(*words: str) -> str:
        options = parser.build().parse_args(words)
        module, function = options.route.split(":")
        getattr(modules[module], function)(Source({}, {}, "the test"), options)
        return capsys.readouterr().out

    return run


def load(store: Store, sensor: int) -> None:
    at = NOW - DAY
    shared = {"sensor": sensor, "batch_seq": 1, "landed_at": at + HOUR}
    packets = [
        {**shared, "row": row, "observed_at": at + row * HOUR / 8, "src_addr": f"240.0.0.{row + 1}"}
        for row in range(4)
    ]
    window = {**shared, "window_start_at": at, "window_end_at": at + HOUR, "rows": 4}
    writer.insert_block(
        store,
        BlockRows(str(uuid.uuid4()), store.clock.now_us(), make_packets(*packets), make_coverage(window)),
    )


def count(store: Store) -> int:
    return int(store.select("SELECT count() AS n FROM packets")["n"][0].as_py())


def test_an_address_is_counted_then_erased(type_words: Type, store: Store) -> None:
    from teiten.custody.models import Erasure

    load(store, 1)
    words = ("erase", "address", "240.0.0.2", "--reason", "asked for by its user")

    assert type_words(*words, "--dry-run") == "1 packets hold an address of 240.0.0.2/32\n"
    assert not Erasure.objects.exists()
    with pytest.raises(CliError, match="say --yes"):
        type_words(*words)
    assert count(store) == 4

    assert "erasure 1 is done" in type_words(*words, "--yes").replace(str(Erasure.objects.get().pk), "1")
    assert count(store) == 3
    assert "asked for by its user" in type_words("erase", "list")


def test_a_hold_refuses_before_anything_is_counted_or_asked(
    type_words: Type, store: Store, cast: Cast
) -> None:
    sensor = make_sensor("alpha-01", cast.alpha)
    load(store, sensor.pk)
    said = type_words("hold", "add", "--sensor", "alpha-01", "--reason", "court", "--from", "2026-11-01")
    number = said.split()[2]

    for words in (
        ("erase", "address", "240.0.0.2", "--dry-run"),
        ("erase", "organisation", "alpha", "--yes"),
        ("exclude", "add", "alpha-01", "--from", "2026-11-20", "--to", "2026-11-21", "--yes"),
    ):
        with pytest.raises(LegalHoldError, match=rf"legal hold {number} \(sensor alpha-01"):
            type_words(*words, "--reason", "because")
    assert count(store) == 4
    assert "court" in type_words("hold", "list")

    type_words("hold", "release", number, "--reason", "closed")
    assert "court" not in type_words("hold", "list")
    assert "court" in type_words("hold", "list", "--all")


def test_a_sensors_day_is_excluded_and_taken_back(type_words: Type, store: Store, cast: Cast) -> None:
    from teiten.custody.models import Exclusion

    load(store, make_sensor("alpha-01", cast.alpha).pk)
    words = (
        "exclude",
        "add",
        "alpha-01",
        "--from",
        "2026-11-20",
        "--to",
        "2026-11-21",
        "--reason",
        "its clock",
    )

    assert type_words(*words, "--dry-run").startswith("4 packets of alpha-01")
    assert "done: 1 batches set aside" in type_words(*words, "--yes")
    assert count(store) == 0
    with pytest.raises(CustodyInputError, match=r"exclusion .* of sensor alpha-01 holds"):
        type_words(*words, "--yes")

    type_words("exclude", "lift", str(Exclusion.objects.get().pk), "--reason", "it was right")
    assert count(store) == 4
    assert "its clock" not in type_words("exclude", "list")


def test_an_organisation_leaves(type_words: Type, store: Store, cast: Cast) -> None:
    load(store, make_sensor("alpha-01", cast.alpha).pk)

    assert type_words("erase", "organisation", "alpha", "--reason", "left", "--dry-run").startswith(
        "alpha: 1 sensors, 4 packets"
    )
    assert "is done" in type_words("erase", "organisation", "alpha", "--reason", "left", "--yes")
    assert count(store) == 0
    with pytest.raises(CliError, match="no organisation 'gamma'"):
        type_words("erase", "organisation", "gamma", "--reason", "left", "--yes")


def test_lists_notes_and_names_are_typed_and_shown(type_words: Type, tmp_path: Path) -> None:
    from teiten.loader.reference import ReferenceBook

    path = tmp_path / "list.csv"
    path.write_text("network,owner,valid_from,valid_to,source\n192.0.2.0/28,,,,\n")
    take = ("survey", "import", str(path), "--list", "example")

    assert "1 added" in type_words(*take, "--owner", "Example", "--from", "2026-11-01", "--publish")
    book = ReferenceBook(tmp_path / "places")
    survey = book.open(book.current_version()).survey
    assert survey is not None
    assert survey.owners == ("Example",)
    assert "192.0.2.0/28" in type_words("survey", "show", "example")
    assert "1 closed" in type_words("survey", "remove", "example", "--publish")
    assert "removed" in type_words("survey", "list")

    type_words(
        "note", "add", "--at", "2026-11-20T09:00", "--kind", "cve", "--ja", "公表", "--en", "Published"
    )
    assert "2026-11-20 00:00:00 UTC" in type_words("note", "list")
    type_words("name", "add", "tcp_fp", "1024:::", "ZMap-like", "--version", "4")
    assert "ZMap-like" in type_words("name", "list")
    with pytest.raises(CliError, match="--at: 'soon' is no instant"):
        type_words("note", "add", "--at", "soon", "--kind", "cve", "--ja", "a", "--en", "a")


def test_a_survey_list_of_geo_use_is_one_list_among_others(type_words: Type, tmp_path: Path) -> None:
    from teiten.datasets.errors import DatasetsError
    from teiten.loader.errors import LoaderError

    one, other, bad = (tmp_path / f"{name}.csv" for name in ("one", "other", "bad"))
    head = "network,owner,valid_from,valid_to,source\n"
    one.write_text(head + "192.0.2.0/28,One,2026-11-01,,page\n")
    other.write_text(head + "198.51.100.0/24,Other,2026-11-01,,page\n")
    bad.write_text(head + "0.0.0.0/0,All,2026-11-01,,page\n")
    type_words("survey", "import", str(one), "--list", "example")

    assert "survey networks 2" in type_words("geo", "use", "--survey", str(other))
    with pytest.raises((LoaderError, DatasetsError), match="too broad"):
        type_words("geo", "use", "--survey", str(bad))

    assert "installed" in type_words("survey", "list")
    assert "198.51.100.0/24" in type_words("survey", "show", "installed")


def test_payload_is_allowed_by_name_and_never_to_members(type_words: Type, cast: Cast) -> None:
    from teiten.accounts.errors import AccountsInputError

    assert "may see payload" in type_words("user", "payload", "ann", "allow")
    cast.ann.refresh_from_db()
    assert cast.ann.may_see_payload
    type_words("user", "payload", "ann", "refuse")
    cast.ann.refresh_from_db()
    assert not cast.ann.may_see_payload
    with pytest.raises(AccountsInputError, match="never for members"):
        type_words("user", "payload", "alice", "allow")
