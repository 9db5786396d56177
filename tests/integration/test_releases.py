"""Releases as people make them: the command line, the roll-out, the job, and the gateway's public folder."""

from __future__ import annotations

import http.client
import json
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from simulators_fixtures import open_gateway

from releases_house import Host, House, make_release, now
from teiten.cli import main as cli_main
from teiten.cli.installation import Installation
from teiten.fleet.releases import bundles, key_files
from teiten.fleet.releases.errors import ReleaseError
from teiten.gateway.endpoints import public_files
from teiten.launcher.errors import UpdateBlocked
from teiten.launcher.updating import update
from teiten.portal.testing import Cast, make_cast, migrated_database

pytestmark = pytest.mark.requirement("R1.3", "R2.1")
PASSPHRASE = "correct horse battery staple"
Type = Callable[..., tuple[int, str]]


@pytest.fixture
def database_of(postgres_server_url: str) -> Iterator[str]:
    with migrated_database(postgres_server_url) as url:
        yield url


@pytest.fixture
def cast(database_of: str) -> Cast:
    return make_cast(now())


@pytest.fixture
def type_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Type:
    """Type a verb of an installation below ``tmp_path``, over the test's database if there is one."""
    (tmp_path / "teiten.toml").write_text(f'[site]\ndata_dir = "{tmp_path / "data"}"\n')
    (tmp_path / "passphrase").write_text(PASSPHRASE + "\n")
    monkeypatch.setattr(Installation, "start_django", lambda self: None)
    monkeypatch.setattr("teiten.foundation.logs.set_up", lambda **_: None)
    monkeypatch.setattr(key_files, "_COST", 1 << 10)

    def type_words(*words: object) -> tuple[int, str]:
        code = cli_main.main(["--config", str(tmp_path / "teiten.toml"), *map(str, words)])
        told = capsys.readouterr()
        return code, told.out + told.err

    return type_words


def test_the_ceremony_and_a_release(cast: Cast, type_words: Type, tmp_path: Path) -> None:
    closed = ("--passphrase-file", tmp_path / "passphrase")
    for role in ("root", "targets"):
        for person in ("Aoi", "Ben", "Chiyo"):
            words = ("--role", role, "--person", person, "--out", tmp_path / f"{person}-{role}.key", *closed)
            assert type_words("release", "keys", "create", *words)[0] == 0
    assert type_words("release", "status") == (
        1,
        f"teiten: there is no repository in {tmp_path / 'data/releases'}; run `teiten release init`\n",
    )
    code, said = type_words("release", "init", *sorted(tmp_path.glob("*.pub")))
    assert code == 0
    assert "draft root 1: signed by nobody; 2 more of Aoi, Ben, Chiyo" in said
    code, said = type_words("release", "sign", "--key", tmp_path / "Aoi-root.key", *closed)
    assert (code, "root: 2 of Aoi, Ben, Chiyo" in said, "sign with --yes" in said) == (1, True, True)
    for role, person in (("root", "Aoi"), ("root", "Ben"), ("targets", "Aoi")):
        assert (
            type_words("release", "sign", "--yes", "--key", tmp_path / f"{person}-{role}.key", *closed)[0]
            == 0
        )
    code, said = type_words("release", "publish")
    assert (code, "targets 1: signed by Aoi; 1 more of Ben, Chiyo" in said) == (1, True)
    # Chiyo signs on her own machine.
    copy = tmp_path / "targets.json"
    copy.write_bytes((tmp_path / "data/releases/draft/targets.json").read_bytes())
    words = ("--yes", "--key", tmp_path / "Chiyo-targets.key", "--draft", copy, *closed)
    assert "bring it back" in type_words("release", "sign", *words)[1]
    assert "1 new signatures" in type_words("release", "merge", copy)[1]
    assert "published: root 1, targets 1, releases none" in type_words("release", "publish")[1]

    bundle = bundles.pack_folder(make_release(tmp_path, 1), tmp_path, preset=0)
    gateway = tmp_path / "gateway.json"
    assert "There is no backup pin" in type_words("release", "gateway-file", "--out", gateway)[1]
    assert set(json.loads(gateway.read_text())) == {"v", "url", "authority", "pins", "gateway_keys"}
    operators = tmp_path / "operators.json"
    operators.write_text('{"v":1,"version":1,"operators":[]}')
    built = type_words("release", "build", "--bundle", bundle, "--gateway", gateway, "--operators", operators)
    assert f" + bundles/{bundle.name}" in built[1]
    assert type_words("release", "discard", "targets")[0] == 0
    assert "there is no draft" in type_words("release", "publish")[1]
    built = type_words("release", "build", "--bundle", bundle, "--gateway", gateway, "--operators", operators)
    assert "targets 2: signed by nobody" in built[1]
    for person in ("Ben", "Chiyo"):
        type_words("release", "sign", "--yes", "--key", tmp_path / f"{person}-targets.key", *closed)
    assert "releases 1" in type_words("release", "publish")[1]
    code, said = type_words("release", "status")
    assert code == 0
    assert f"bundles/{bundle.name}\t" in said
    assert _list_audit("release.published") == ["targets:1", "targets:2"]


def _list_audit(kind: str) -> list[str]:
    from teiten.accounts.models import AuditRecord

    return list(AuditRecord.objects.filter(kind=kind).order_by("number").values_list("subject", flat=True))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("build",), "there is no repository"),
        (("publish",), "there is no repository"),
        (("rotate",), "there is no repository"),
        (("init", "absent.pub"), "key file absent.pub cannot be read"),
        (("sign", "--key", "absent.key"), "key file absent.key cannot be read"),
        (("build", "--bundle", "absent.tar.xz"), "must be named teiten-sensor-"),
        (("build", "--operators", "absent"), "absent cannot be read"),
        (("merge", "absent.json"), "absent.json cannot be read"),
        (("promote", "1", "--stages", "1,x"), "--stages '1,x' must be percentages"),
    ],
)
def test_wrong_words_are_named(type_words: Type, words: tuple[str, ...], said: str) -> None:
    code, told = type_words("release", *words)
    assert code == 1
    assert said in told


def test_a_gateway_file_that_trusts_nobody_is_refused(type_words: Type, tmp_path: Path) -> None:
    path = tmp_path / "gateway.json"
    for record in ({"url": "http://x"}, {"url": "https://x", "pins": [], "gateway_keys": {}}, [], {"url": 7}):
        path.write_text(json.dumps(record))
        code, told = type_words("release", "build", "--gateway", path)
        assert (code, "gateway.json" in told) == (1, True)


# ── promotion ────────────────────────────────────────────────────────────────


def enter_sensors(cast: Cast, releases: list[int | None]) -> list[int]:
    """Enter sensors that report these releases; None: a sensor that no launcher runs."""
    from teiten.fleet.models import Region, Sensor, SensorHealth

    region = Region.objects.create(code="kanto", name_ja="関東", name_en="Kanto")
    at = now()
    numbers = []
    for number, release in enumerate(releases):
        sensor = Sensor.objects.create(
            name=f"TK-{number:03}",
            region=region,
            organisation=cast.alpha,
            dataset="live",
            state="active",
            created_at=at,
            enrolled_at=at,
        )
        report: dict[str, Any] = (
            {} if release is None else {"update": {"release": release, "state": "steady"}}
        )
        SensorHealth.objects.create(
            sensor=sensor,
            heartbeat_at=at,
            counter=1,
            boot_id="b",
            booted_at=at,
            software="0.1.0",
            report=report,
        )
        numbers.append(sensor.pk)
    return numbers


def test_a_published_release_is_promoted_to_those_who_can_take_it(cast: Cast, tmp_path: Path) -> None:
    from teiten.fleet.releases import services
    from teiten.fleet.rollouts.models import RolloutState
    from teiten.fleet.services import Act

    house = House(tmp_path)
    house.begin()
    sensors = enter_sensors(cast, [1, 1, 2, 3, None])
    given: dict[str, Any] = {
        "folder": house.repository.folder.path,
        "selector": "all",
        "stages": (10, 100),
        "per_minute": 60,
        "soak_seconds": 0,
        "act": Act(now()),
    }
    with pytest.raises(ReleaseError, match="release 2 is not published"):
        services.promote(2, **given)
    house.release(2)
    promotion = services.promote(2, **given)
    assert (promotion.sensors, promotion.left_out) == (2, 3)
    assert set(promotion.rollout.targets.values_list("sensor", flat=True)) == set(sensors[:2])
    assert services.find_under_way(2) == promotion.rollout
    with pytest.raises(ReleaseError, match="release 3 is not being rolled out"):
        services.find_under_way(3)
    house.release(3)
    services.promote(3, **given)
    promotion.rollout.refresh_from_db()
    assert promotion.rollout.state == RolloutState.STOPPED
    house.release(4)
    with pytest.raises(ReleaseError, match="none of 0 sensors"):
        services.promote(4, **{**given, "selector": "region = nowhere"})


def test_verbs_hold_and_go_on(cast: Cast, type_words: Type, tmp_path: Path) -> None:
    house = House(tmp_path / "data")
    house.begin()
    house.release(2)
    enter_sensors(cast, [1, 1])
    assert "to 2 sensors, 0 left out; stages 1 %, 10 %, 50 %, 100 %" in type_words("release", "promote", 2)[1]
    assert "is halted" in type_words("release", "halt", 2, "--reason", "looks odd")[1]
    assert "looks odd" in type_words("release", "status")[1]
    assert "is running again" in type_words("release", "resume", 2, "--reason", "was nothing")[1]
    assert "is stopped" in type_words("release", "stop", 2, "--reason", "enough")[1]
    code, told = type_words("release", "halt", 2, "--reason", "again")
    assert (code, "is not being rolled out" in told) == (1, True)


def test_the_job_signs_what_is_due(cast: Cast, tmp_path: Path) -> None:
    from teiten.automation.errors import NotWiredError
    from teiten.automation.jobs import Context, get_job
    from teiten.fleet.config import FleetConfig
    from teiten.foundation.clock import FixedClock

    house = House(tmp_path)
    house.begin()
    clock = FixedClock(now() + timedelta(hours=13))
    job = get_job("releases.renew")
    context = Context(clock=clock, fleet=FleetConfig(releases_dir=house.repository.folder.path))
    assert job.run(context)["renewed"] == ["timestamp"]
    assert job.run(context)["renewed"] == []
    empty = Context(clock=clock, fleet=FleetConfig(releases_dir=tmp_path / "nothing"))
    assert job.run(empty) == {"renewed": [], "expires": {}, "followed": 0}
    with pytest.raises(NotWiredError):
        job.run(Context(clock=clock))


def test_sensors_that_come_later_follow(cast: Cast, tmp_path: Path) -> None:
    from teiten.fleet.models import SensorHealth
    from teiten.fleet.releases import services
    from teiten.fleet.rollouts.models import Rollout, RolloutState, RolloutTarget
    from teiten.fleet.services import Act

    house = House(tmp_path)
    house.begin()
    house.release(2)
    folder, act = house.repository.folder.path, Act(now())
    first, second, third = enter_sensors(cast, [1, 1, 2])
    given: dict[str, Any] = {
        "folder": folder,
        "stages": (100,),
        "per_minute": 60,
        "soak_seconds": 0,
        "act": act,
    }
    services.promote(2, selector="all", **given)
    assert services.follow(folder, act=act) == 0  # it is under way
    Rollout.objects.update(state=RolloutState.DONE)
    RolloutTarget.objects.filter(sensor=first).update(state="failed", released_at=now(), ended_at=now())
    SensorHealth.objects.filter(sensor=third).update(report={"update": {"release": 1}})  # installed anew
    assert services.follow(folder, act=act) == 2
    followed = Rollout.objects.order_by("pk").last()
    assert set(followed.targets.values_list("sensor", flat=True)) == {second, third}
    # What was meant for some is not brought to all.
    Rollout.objects.update(state=RolloutState.DONE)
    house.release(3)
    services.promote(3, selector="region = kanto", **given)
    Rollout.objects.update(state=RolloutState.DONE)
    SensorHealth.objects.update(report={"update": {"release": 2}})
    assert services.follow(folder, act=act) == 0


def test_the_doctor_looks_at_expiry(tmp_path: Path) -> None:
    from teiten.cli.doctor import _look_at_releases
    from teiten.foundation.clock import FixedClock
    from teiten.foundation.settings import Source

    def look(**later: int) -> tuple[str, str]:
        clock = FixedClock(now() + timedelta(**later))
        installation = Installation(Source({"site": {"data_dir": str(tmp_path)}}, {}, "the test"), clock)
        found = next(_look_at_releases(installation))
        return found.verdict, found.text

    assert look() == ("note", "no update repository; sensors keep the program they were installed with")
    house = House(tmp_path)
    house.begin()
    assert look() == ("ok", "releases none")
    verdict, text = look(days=2)
    assert (verdict, "is the worker running?" in text) == ("wrong", True)
    house.repository.renew(now=now() + timedelta(days=80))
    assert look(days=80) == ("note", "releases none; targets must be signed anew soon")
    house.repository.renew(now=now() + timedelta(days=91))
    assert "have it signed anew" in look(days=91)[1]


# ── the gateway's folder ─────────────────────────────────────────────────────


def test_the_real_gateway_serves_the_real_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over TLS whose certificate the launcher does not know, with two releases and settings."""
    house = House(tmp_path)
    house.begin()
    gateway_file = tmp_path / "gateway.json"
    gateway_file.write_text('{"v": 1, "pins": []}')
    house.offer(house.pack(1), settings={"gateway.json": gateway_file})
    with open_gateway(tmp_path / "gateway", releases=house.public) as gateway:
        host = Host(tmp_path / "host", f"{gateway.url}/tuf", house.anchor)
        host.allow(1)
        outcome = update(host.bench, host.config)
        assert (outcome.release, outcome.applied) == (1, ("gateway.json",))
        monkeypatch.setattr(public_files, "_MAX_DOWNLOADS", 0)
        busy = Host(tmp_path / "busy", f"{gateway.url}/tuf", house.anchor)
        with pytest.raises(UpdateBlocked, match="answered with 503"):
            update(busy.bench, busy.config)


@pytest.mark.parametrize(
    "path",
    [
        "/tuf/metadata/../keys/timestamp.pem",
        "/tuf/metadata/%2e%2e/timestamp.json",
        "/tuf/metadata/01.root.json",
        "/tuf/metadata/root.json",
        "/tuf/metadata/timestamp.json?x",
        "/tuf/targets/operators.json",
        "/tuf/targets/" + "0" * 64 + ".x/../../keys/timestamp.pem",
        "/tuf/draft/root.json",
        "/tuf/targets/bundles/" + "0" * 64 + ".absent",
        "/tuf/",
    ],
)
def test_no_path_leads_elsewhere(gateway_of_releases: Any, path: str) -> None:
    assert fetch(gateway_of_releases, path)[0] == 404


def test_what_changes_is_not_kept_by_caches(gateway_of_releases: Any) -> None:
    status, fields, body = fetch(gateway_of_releases, "/tuf/metadata/timestamp.json")
    assert (status, fields["cache-control"]) == (200, "no-cache")
    assert json.loads(body)["signed"]["_type"] == "timestamp"
    assert "immutable" in fetch(gateway_of_releases, "/tuf/metadata/1.root.json")[1]["cache-control"]
    assert fetch(gateway_of_releases, "/tuf/metadata/timestamp.json", method="POST")[0] == 404
    assert fetch(gateway_of_releases, "/tuf/metadata/timestamp.json", fields={"Range": "bytes=0-1"})[0] == 400


def test_files_follow_one_another_on_one_connection(
    gateway_of_releases: Any, caplog: pytest.LogCaptureFixture
) -> None:
    connection = connect(gateway_of_releases)
    try:
        for _ in range(3):
            connection.request("GET", "/tuf/metadata/1.root.json")
            assert json.loads(connection.getresponse().read())["signed"]["version"] == 1
        socket_of_first = connection.sock
        connection.request("GET", "/tuf/metadata/9.root.json")
        assert connection.getresponse().read()
        assert connection.sock is socket_of_first is not None
    finally:
        connection.close()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ("bytes=4-", 206, b"456789"),
        ("bytes=9-", 206, b"9"),
        ("bytes=0-", 200, b"0123456789"),
        ("bytes=10-", 416, None),
        ("bytes=999999999999-", 416, None),
        # Forms that no launcher sends are answered with the whole, as RFC 9110 allows.
        ("bytes=4-5", 200, b"0123456789"),
        ("bytes=-1", 200, b"0123456789"),
        ("pages=1-", 200, b"0123456789"),
    ],
)
def test_a_target_goes_on_where_it_broke_off(
    gateway_of_releases: Any, asked: str, status: int, said: bytes | None
) -> None:
    path = f"targets/{'1' * 64}.part"
    (gateway_of_releases.releases / path).write_bytes(b"0123456789")

    got, fields, body = fetch(gateway_of_releases, f"/tuf/{path}", fields={"Range": asked})

    assert got == status
    assert said is None or body == said
    assert fields.get("content-range") == (f"bytes {10 - len(body)}-9/10" if status == 206 else None)


def test_a_range_stands_once(gateway_of_releases: Any) -> None:
    path = f"/tuf/targets/{'1' * 64}.part"
    assert fetch(gateway_of_releases, path, fields={"Range": "bytes=1-", "range": "bytes=2-"})[0] == 400


def test_a_reader_that_takes_nothing_is_cut_off(
    gateway_of_releases: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = gateway_of_releases.releases / "targets" / f"{'2' * 64}.big"
    big.write_bytes(bytes(30_000_000))
    monkeypatch.setattr(public_files, "_SLICE_SECONDS", 0.2)
    connection = connect(gateway_of_releases)
    try:
        connection.request("GET", f"/tuf/targets/{'2' * 64}.big")
        response = connection.getresponse()
        deadline = time.monotonic() + 5
        while public_files._downloads._by_peer.total() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert public_files._downloads._by_peer.total() == 0
        with pytest.raises((OSError, http.client.IncompleteRead)):
            response.read()
    finally:
        connection.close()
        big.unlink()


def test_a_stranger_that_fetches_slowly_is_cut_off(
    gateway_of_releases: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = gateway_of_releases.releases / "targets" / f"{'0' * 64}.big"
    big.write_bytes(bytes(30_000_000))
    monkeypatch.setattr(public_files, "_DOWNLOAD_SECONDS", 0.3)
    connection = connect(gateway_of_releases)
    try:
        connection.request("GET", f"/tuf/targets/{'0' * 64}.big")
        response = connection.getresponse()
        time.sleep(0.8)
        with pytest.raises((OSError, http.client.IncompleteRead)):
            response.read()
    finally:
        connection.close()
        big.unlink()
    assert public_files._downloads._by_peer.total() == 0


@pytest.fixture(scope="module")
def gateway_of_releases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("served")
    house = House(folder)
    house.begin()
    with open_gateway(folder / "gateway", releases=house.public) as gateway:
        gateway.releases = house.public
        yield gateway


def connect(gateway: Any) -> http.client.HTTPSConnection:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(gateway.authority, context=context, timeout=10)


def fetch(
    gateway: Any, path: str, *, method: str = "GET", fields: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Ask for exactly this path, as no browser would."""
    connection = connect(gateway)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in (fields or {}).items():
            connection.putheader(name, value)
        connection.putheader("Content-Length", "0")
        connection.endheaders()
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
    finally:
        connection.close()


# ── careless hands ───────────────────────────────────────────────────────────


def test_a_folder_that_was_copied_back_is_found_out(cast: Cast, type_words: Type, tmp_path: Path) -> None:
    import shutil

    from teiten.fleet.releases import services
    from teiten.fleet.services import Act

    house = House(tmp_path / "data")
    house.begin()
    folder = house.repository.folder.path
    shutil.copytree(folder, tmp_path / "backup")
    house.repository.draft_targets([bundles.inspect_bundle(house.pack(2))], now=now())
    house.sign()
    services.publish(folder, act=Act(now()))
    enter_sensors(cast, [1])
    shutil.rmtree(folder)

    code, told = type_words("release", "status")
    assert (code, "WRONG: there is no repository" in told, "put the folder back" in told) == (1, True, True)
    for number, person in enumerate(("Aoi", "Ben", "Chiyo")):
        for role in ("root", "targets"):
            (tmp_path / f"{number}{role}.pub").write_bytes(house.people[role, person][0].to_json())
    code, told = type_words("release", "init", *tmp_path.glob("*.pub"))
    assert (code, "believed by no sensor" in told, folder.exists()) == (1, True, False)

    shutil.copytree(tmp_path / "backup", folder)
    code, told = type_words("release", "status")
    assert (code, "WRONG: the repository" in told, "targets 1, " in told) == (1, True, True)
    assert "build --above 2" in type_words("release", "renew")[1]
    third = house.pack(3)
    type_words("release", "build", "--bundle", third)
    house.sign()
    assert "put its newest copy back" in type_words("release", "publish")[1]
    told = type_words("release", "build", "--above", 2, "--bundle", third)[1]
    assert "the draft of before (targets 2, signed by Aoi, Ben) is given up" in told
    house.sign()
    assert "published: root 1, targets 3, releases 3" in type_words("release", "publish")[1]
    assert house.repository.read_versions().timestamp > 2
    assert type_words("release", "status")[0] == 0


def test_a_promotion_says_before_whom_it_reaches(cast: Cast, type_words: Type, tmp_path: Path) -> None:
    from teiten.fleet.models import SensorEvent, SensorHealth
    from teiten.fleet.rollouts.models import Rollout

    house = House(tmp_path / "data")
    house.begin()
    house.release(2, min_from=1)
    _, second, third, fourth, *_ = enter_sensors(cast, [1, 1, 0, 1, 2, None])
    told = {"state": "rolled_back", "release": 1, "detail": "release 2: three failed starts"}
    SensorHealth.objects.filter(pk=second).update(report={"update": told})
    for sensor, python in ((third, sys.version.split()[0]), (fourth, "3.9.2")):
        detail = {"python": python, "arch": house_arch()}
        SensorEvent.objects.create(at=now(), sensor_id=sensor, kind="enrolled", detail=detail)
    code, said = type_words("release", "promote", 2, "--dry-run")
    assert code == 0
    for line in (
        "'all' means all sensors that there are; 1 of 6 take release 2",
        "1 left out: they have given it up before",
        "1 left out: they run a release below 1",
        f"1 left out: they have Python 3.9 on {house_arch()}, for which it has no bundle",
        "1 left out: they run release 2 or a later one",
        "1 left out: they run without a launcher",
        "nothing was started",
    ):
        assert line in said, line
    assert not Rollout.objects.exists()
    assert "to 1 sensors, 5 left out" in type_words("release", "promote", 2)[1]
    assert "under way already: number" in type_words("release", "promote", 2)[1]
    code, said = type_words("release", "promote", 2, "--soak", -1)
    assert (code, "0 to 604800 seconds" in said) == (1, True)


def house_arch() -> str:
    import platform

    return platform.machine()


def test_what_is_on_offer_no_more_halts(cast: Cast, type_words: Type, tmp_path: Path) -> None:
    house = House(tmp_path / "data")
    house.begin()
    house.release(2)
    house.release(3)
    enter_sensors(cast, [1, 1])
    assert type_words("release", "promote", 3)[0] == 0
    code, said = type_words("release", "promote", 2)
    assert (code, "release 3 is being rolled out" in said, "`teiten release stop 3" in said) == (
        1,
        True,
        True,
    )
    type_words("release", "build", "--drop", 3)
    house.sign()
    said = type_words("release", "publish")[1]
    assert "of release 3 is halted: its release is on offer no more" in said
    code, said = type_words("release", "resume", 3, "--reason", "go on")
    assert (code, "on offer no more (there are 2)" in said, "release stop 3" in said) == (1, True, True)


def test_an_expired_repository_is_not_promoted_from(cast: Cast, tmp_path: Path) -> None:
    from teiten.fleet.releases import services

    house = House(tmp_path / "data")
    house.begin()
    house.release(2)
    enter_sensors(cast, [1, 1])
    with pytest.raises(
        ReleaseError, match=r"expired \(snapshot on .*, timestamp on .*`teiten release renew`"
    ):
        services.plan_promotion(
            2, folder=house.repository.folder.path, selector="all", now=now() + timedelta(days=8)
        )


def test_a_host_that_was_mended_is_brought_to_the_release_after_all(cast: Cast, tmp_path: Path) -> None:
    from teiten.fleet.models import SensorHealth
    from teiten.fleet.releases import services
    from teiten.fleet.rollouts.models import Rollout, RolloutState, RolloutTarget
    from teiten.fleet.services import Act

    house = House(tmp_path)
    house.begin()
    house.release(2)
    folder, act = house.repository.folder.path, Act(now())
    sensors = enter_sensors(cast, [1, 1])
    given: dict[str, Any] = {"folder": folder, "selector": "all", "stages": (100,), "act": act}
    services.promote(2, per_minute=60, soak_seconds=0, **given)
    Rollout.objects.update(state=RolloutState.DONE)
    RolloutTarget.objects.update(
        state="failed", released_at=now(), ended_at=now(), detail="blocked: disk full: /"
    )
    blocked = {"update": {"release": 1, "state": "blocked", "detail": "disk full: /"}}
    SensorHealth.objects.filter(pk=sensors[0]).update(report=blocked)
    assert services.follow(folder, act=act) == 1
    followed = Rollout.objects.order_by("pk").last()
    assert list(followed.targets.values_list("sensor", flat=True)) == [sensors[1]]


def test_a_list_of_operators_never_goes_back(type_words: Type, tmp_path: Path) -> None:
    from teiten.protocol import command_testing

    house = House(tmp_path / "data")
    house.begin()
    lists = {}
    for version in (1, 2):
        lists[version] = tmp_path / f"operators-{version}.json"
        known = command_testing.make_operators(int(time.time()))
        lists[version].write_bytes(type(known)(version, known.operators[:version]).to_json())
    said = type_words("release", "build", "--operators", lists[2])[1]
    assert "note: class B asks for 2 persons; only 1 can sign it (alice)" in said
    house.sign()
    house.repository.publish(now=now())
    code, said = type_words("release", "build", "--operators", lists[1])
    assert (code, "is version 1, and version 2 is published" in said) == (1, True)
    assert type_words("release", "build", "--operators", lists[2])[0] == 0


def test_the_base_goes_by_the_list_of_operators_that_it_publishes(
    cast: Cast, type_words: Type, tmp_path: Path
) -> None:
    from teiten.fleet.commands.operators import find_operators
    from teiten.protocol import command_testing

    house = House(tmp_path / "data")
    house.begin()
    path = tmp_path / "operators.json"
    path.write_bytes(command_testing.make_operators(int(time.time())).to_json())
    type_words("release", "build", "--operators", path)
    house.sign()
    assert find_operators() is None
    assert "by version 1 of the list of operators now" in type_words("release", "publish")[1]
    known = find_operators()
    assert known is not None
    assert known.to_json() == path.read_bytes()
    type_words("release", "build")
    house.sign()
    assert "list of operators" not in type_words("release", "publish")[1]


def test_the_doctor_says_what_nobody_can_sign(cast: Cast, database_of: str, tmp_path: Path) -> None:
    from teiten.cli.doctor import _look_at_operators
    from teiten.fleet.commands.operators import import_operators
    from teiten.fleet.services import Act
    from teiten.foundation.clock import FixedClock
    from teiten.foundation.settings import Source
    from teiten.protocol import command_testing

    def look(**later: int) -> tuple[str, str]:
        tables = {"site": {"data_dir": str(tmp_path)}, "database": {"url": database_of}}
        clock = FixedClock(now() + timedelta(**later))
        found = next(_look_at_operators(Installation(Source(tables, {}, "the test"), clock)))
        return found.verdict, found.text

    assert "no list of operators is known" in look()[1]
    import_operators(command_testing.make_operators(int(time.time())).to_json(), act=Act(now()))
    assert look() == ("ok", "version 1: every class of commands can be signed")
    assert "within 21 days class A asks for 1 persons; only 0" in look(days=20)[1]
    assert "version 1: class A asks for 1 persons" in look(days=40)[1]


def test_a_key_that_would_not_count_does_not_sign(type_words: Type, tmp_path: Path) -> None:
    house = House(tmp_path / "data")
    house.begin()
    closed = ("--passphrase-file", tmp_path / "passphrase")
    key = tmp_path / "dai.key"
    type_words("release", "keys", "create", "--role", "targets", "--person", "Dai", "--out", key, *closed)
    words = ("release", "sign", "--yes", "--key", key, *closed)
    assert "there is no draft of role targets to sign" in type_words(*words)[1]
    house.repository.draft_targets(now=now())
    code, said = type_words(*words)
    assert (code, "none of those that sign targets (Aoi, Ben, Chiyo)" in said) == (1, True)


def test_a_gateway_file_does_not_overwrite_another(type_words: Type, tmp_path: Path) -> None:
    code, said = type_words("release", "gateway-file", "--out", tmp_path / "teiten.toml")
    assert (code, "is no gateway.json; it is not overwritten" in said) == (1, True)
    code, said = type_words("release", "gateway-file", "--out", tmp_path / "g.json", "--gateway-key", "x")
    assert (code, "must be ID=BASE64URL" in said, (tmp_path / "g.json").exists()) == (1, True, False)
    assert type_words("release", "gateway-file", "--out", tmp_path / "g.json")[0] == 0
    assert type_words("release", "gateway-file", "--out", tmp_path / "g.json")[0] == 0
