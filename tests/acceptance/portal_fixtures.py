"""The portal as people meet it: Django under uvicorn, a real store, a made telescope, a real Chromium.

Eight simulated sensors in four regions watch for eight days; one falls silent for
some hours and one is late. Everything is seeded and the clock stands still, so that
two runs show the same screens.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from teiten.foundation.clock import FixedClock
from teiten.protocol.keys import public_bytes

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from command_fixtures import know_operators, make_content, make_result, payload_of, sensor_key

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: Generous: the machine may be busy with other tests.
PATIENCE_MS = 15_000
expect.set_options(timeout=PATIENCE_MS)
AXE = Path(__file__).parent / "vendor" / "axe-core-4.14.1" / "axe.min.js"
SCREENSHOTS = Path(__file__).parents[2] / "artefacts" / "screenshots"

NOW = datetime(2026, 11, 21, 3, 0, 30, tzinfo=timezone.utc)
START = NOW.replace(second=0) - timedelta(days=8)
WINDOW = timedelta(minutes=30)
REGIONS = {
    1: "kanto", 2: "kanto", 3: "kanto", 4: "kinki", 5: "kinki", 6: "kyushu", 7: "kyushu", 8: "hokkaido",
}  # fmt: skip
KINDS = ("isp", "enterprise", "university", "cloud")
REGION_NAMES = {
    "kanto": ("関東", "Kanto"), "kinki": ("近畿", "Kinki"), "kyushu": ("九州・沖縄", "Kyushu and Okinawa"),
    "hokkaido": ("北海道", "Hokkaido"),
}  # fmt: skip
#: Sensors that answer what comes; figures are of the others unless asked for.
ANSWERING = (7,)
#: A payload that is common, with one whole example.
PAYLOAD_HASH = 0x0123456789ABCDEF
#: Sensor 5 is silent in this time; sensor 8 has not sent its newest batches.
SILENCE = (START + timedelta(days=4), START + timedelta(days=4, hours=14))
LATE_FROM = NOW - timedelta(hours=3)
_PORTS = (
    [(6, 23)] * 6
    + [(6, 22)] * 4
    + [(6, 80), (6, 443), (6, 8728), (6, 8080), (6, 5555), (17, 53), (17, 123), (1, 0)]
)
_PLACES = [("CN", 64510), ("CN", 64510), ("US", 64501), ("US", 64502), ("IN", 64507), ("BR", 64496), ("NL", 64538), ("SG", 64541), ("JP", 64508), ("RU", 64503), ("", 0)]  # fmt: skip
_PROBES = {53: "dns-any", 123: "ntp-monlist"}
_FINGERPRINTS = ["64240:2-4-8-1-3:1460:7", "29200:2-4-8-1-3:1460:7", "1024::1460:"]
#: A source of whom more is known than of others.
SOURCE = "240.0.7.77"


@dataclass
class Findings:
    """What must not happen in a browser: violations of the content policy, errors, foreign requests."""

    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Operated:
    """What the addresses of the fleet's pages need."""

    command: str
    #: A command that was not started.
    waiting: str
    rollout: int
    #: Planned maintenance of sensor 3.
    maintenance: int


@dataclass(frozen=True)
class Site:
    """A running portal."""

    url: str
    browser: Browser
    password: str
    operated: Operated | None = None

    @contextmanager
    def visit(
        self, user: str = "ann", *, language: str = "en", theme: str = "light", width: int = 1440
    ) -> Iterator[tuple[Page, Findings]]:
        """Open a page as a signed-in person (or nobody, for an empty name)."""
        context = self.browser.new_context(
            viewport={"width": width, "height": 900}, locale="ja-JP" if language == "ja" else "en-GB",
            color_scheme="dark" if theme == "dark" else "light", accept_downloads=True,
        )  # fmt: skip
        findings = Findings()
        try:
            page = context.new_page()
            page.set_default_timeout(PATIENCE_MS)
            watch(page, findings, self.url)
            if user:
                self.sign_in(page, user)
                self.prefer(context, language)
            yield page, findings
        finally:
            context.close()

    def sign_in(self, page: Page, user: str) -> None:
        page.goto(f"{self.url}/sign-in/")
        page.fill("#id_user_id", user)
        page.fill("#id_password", self.password)
        page.click("button[type=submit].primary")
        page.wait_for_url(f"{self.url}/")

    def prefer(self, context: BrowserContext, language: str) -> None:
        context.add_cookies([{"name": "teiten-language", "value": language, "url": self.url}])


def watch(page: Page, findings: Findings, url: str) -> None:
    """Note everything that must not happen."""

    def hear(message: Any) -> None:
        is_ours = "status of 4" in message.text  # a refused question is asked for by its test
        if message.type in ("error", "warning") and not is_ours:
            findings.problems.append(f"console: {message.text}")

    def see(request: Any) -> None:
        if not request.url.startswith((url, "data:", "blob:")):
            findings.problems.append(f"foreign request: {request.url}")

    page.on("console", hear)
    page.on("pageerror", lambda error: findings.problems.append(f"error: {error}"))
    page.on("request", see)
    page.add_init_script(
        "document.addEventListener('securitypolicyviolation', e => console.error('CSP ' + e.violatedDirective + ' ' + e.blockedURI))"
    )


def make_windows() -> list[dict[str, Any]]:
    """List every batch of the telescope."""
    windows = []
    for sensor, region in REGIONS.items():
        at, seq = START, 0
        while at + WINDOW <= NOW and not (sensor == 8 and at >= LATE_FROM):
            if not (sensor == 5 and SILENCE[0] <= at < SILENCE[1]):
                seq += 1
                windows.append(
                    {
                        "sensor": sensor, "region": region, "batch_seq": seq, "window_start_at": at,
                        "window_end_at": at + WINDOW, "landed_at": at + WINDOW + timedelta(seconds=2),
                        "watched_prefix": [f"192.0.2.{sensor}/32"], "captured": 20, "dataset": "simulated",
                        "watched_mode": ["answering" if sensor in ANSWERING else "silent"],
                        "kernel_drops": 1 if sensor == 3 else 0, "clock_offset_us": 2_000_000 if sensor == 4 else 12_000,
                    }
                )  # fmt: skip
            at += WINDOW
    return windows


def make_rows(windows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Make seeded packets for every window."""
    rng = random.Random(20261121)
    rows: list[dict[str, Any]] = []
    for window in windows:
        count = rng.randint(2, 8)
        window["rows"] = count
        rows.extend(_make_packet(rng, window, row) for row in range(count))
    return rows


def _make_packet(rng: random.Random, window: dict[str, Any], row: int) -> dict[str, Any]:
    protocol, port = rng.choice(_PORTS)
    place = min(int(rng.expovariate(0.25)), len(_PLACES) - 1)
    country, asn = _PLACES[place]
    host = rng.randint(1, 200)
    source = SOURCE if rng.random() < 0.03 else f"240.0.{place}.{host}"
    if source == SOURCE:
        protocol, port = 6, 23
    is_mirai = (port == 23 and source == SOURCE) or (port == 23 and rng.random() < 0.4)
    return {
        "dataset": "simulated", "sensor": window["sensor"], "region": window["region"], "batch_seq": window["batch_seq"],
        "row": row, "observed_at": window["window_start_at"] + timedelta(microseconds=rng.randrange(1_800_000_000)),
        "landed_at": window["landed_at"], "src_addr": source, "dst_addr": f"192.0.2.{window['sensor']}",
        "protocol": protocol, "dst_port": port, "src_port": rng.randint(1024, 65535) if protocol != 1 else 0,
        "tcp_flags": 2 if protocol == 6 else 0, "tcp_seq": 0xC0000201 if protocol == 6 else 0,
        "tcp_options": bytes.fromhex("020405b4") if protocol == 6 else b"",
        "tcp_fp": rng.choice(_FINGERPRINTS) if protocol == 6 else "", "icmp_type": 8 if protocol == 1 else 0,
        "ttl": rng.randint(44, 60), "ip_df": rng.randint(0, 1), "nature": 3 if protocol == 17 else 1,
        "hints": 1 if is_mirai else rng.choice([0, 0, 2, 16]), "country": country, "asn": asn,
        "survey": int(place == 3), "actor": "Example Survey" if place == 3 else "",
        "answering": int(window["sensor"] in ANSWERING), "probe": _PROBES.get(port, "") if protocol == 17 else "",
        "validity": 2 if rng.random() < 0.01 else 0, "payload_hash": PAYLOAD_HASH if protocol == 17 else 0,
        "payload": b"<script>alert(1)</script>" if protocol == 17 else b"",
        "payload_length": 25 if protocol == 17 else 0,
    }  # fmt: skip


def fill_fleet(cast: Any) -> None:
    """Enter the sensors, each with what it last said."""
    from teiten.custody.models import Exclusion
    from teiten.fleet.models import (
        Maintenance,
        ObservedAddress,
        Region,
        Sensor,
        SensorHealth,
        SensorPlacement,
    )

    for position, (code, (name_ja, name_en)) in enumerate(REGION_NAMES.items()):
        Region.objects.create(code=code, name_ja=name_ja, name_en=name_en, position=position)
    for number, region in REGIONS.items():
        sensor = Sensor.objects.create(
            id=number, name=f"SIM-{number:03d}", region_id=region, organisation=cast.observatory, dataset="simulated",
            created_at=START, enrolled_at=START, state="active",
        )  # fmt: skip
        SensorHealth.objects.create(
            sensor=sensor, heartbeat_at=LATE_FROM if number == 8 else NOW, counter=1, boot_id="b", booted_at=START,
            software="0.1.0", clock_offset_us=2_000_000 if number == 4 else 12_000, recent_captured=100,
            recent_drops=3 if number == 3 else 0,
        )  # fmt: skip
        SensorPlacement.objects.create(
            sensor=sensor, valid_from=START, region_id=region, country="JP", asn=64600 + number, provider="Example Net",
            kind=KINDS[number % len(KINDS)], mode="answering" if number in ANSWERING else "silent",
        )  # fmt: skip
        ObservedAddress.objects.create(
            sensor=sensor, local=f"10.0.0.{number}/32", public=f"192.0.2.{number}/32", valid_from=START, known_by="configured",
        )  # fmt: skip
    Maintenance.objects.create(
        sensor_id=5,
        start_at=SILENCE[0],
        end_at=SILENCE[0] + timedelta(hours=6),
        reason="New cable",
        by=cast.dana,
    )
    Exclusion.objects.create(
        sensor_id=3, dataset="simulated", start_at=START, end_at=START + timedelta(hours=6), reason="Its clock was wrong",
        created_by=cast.dana, created_at=NOW, state="done",
    )  # fmt: skip


def fill_operations(cast: Any) -> Operated:
    """Let the fleet have been operated: a command under way and one that waits, an update that was halted, alarms, hosts."""
    from teiten.fleet import hosting, maintaining
    from teiten.fleet.commands import services as commands
    from teiten.fleet.commands.models import CommandResult
    from teiten.fleet.models import Sensor, SensorKey
    from teiten.fleet.rollouts import services as rollouts
    from teiten.fleet.rollouts.models import RolloutTarget
    from teiten.fleet.services import Act

    act, clock = Act(NOW, cast.dana), FixedClock(NOW)
    SensorKey.objects.bulk_create(
        SensorKey(sensor_id=number, key_no=1, public_key=public_bytes(sensor_key(number)), epoch=1, created_at=START)
        for number in REGIONS
    )  # fmt: skip
    know_operators(clock)
    started, _ = commands.submit(make_content(list(REGIONS), clock, "alice"), act=act)
    started = commands.start(started, act=act, per_minute=60, stages=[50, 100])
    body, signature = make_result(
        started.pk, 1, payload_of(started), output="capture  active\n<b>x</b>\n" + "y" * 400
    )
    CommandResult.objects.create(
        command=started, sensor_id=1, state="done", reason="", key_no=1, body=body, signature=signature,
        started_at=NOW, ended_at=NOW, received_at=NOW,
    )  # fmt: skip
    waiting, _ = commands.submit(make_content([1, 2], clock, "alice", counter=900), act=act)
    update = rollouts.start_rollout(
        kind="update", subject="13", sensors=list(REGIONS), per_minute=60, act=act
    )
    RolloutTarget.objects.filter(rollout=update, position__lt=2).update(
        state="failed", released_at=NOW, ended_at=NOW, detail="release 13: capture did not start"
    )
    rollouts.halt(update, reason="2 of 8 sensors failed", act=act)
    raise_alarms(cast)
    long_name = "A department with a very long name that looks after networks and nothing else"
    for code, name, mail in (
        ("observatory", "監視当番", "noc@teiten.example"),
        ("alpha", long_name, f"{'a' * 60}@department.alpha.example"),
    ):
        hosting.add_contact(hosting.get_organisation(code), name=name, mail=mail, language="ja", act=act)
    planned = maintaining.plan_maintenance(
        Sensor.objects.get(pk=3),
        start=NOW - timedelta(hours=1),
        end=NOW + timedelta(hours=1),
        reason="配線の更新",
        act=act,
    )
    try_ports()
    return Operated(str(started.pk), str(waiting.pk), update.pk, planned.pk)


def raise_alarms(cast: Any) -> None:
    """Let three sensors and a network be in trouble."""
    from teiten.fleet.alarms.models import Alarm

    for kind, sensor, detail in (
        ("silent", 8, {"heard_at": LATE_FROM.isoformat()}), ("skewed", 4, {"offset_us": 2_000_000}), ("dropping", 3, {"share": 0.029}),
    ):  # fmt: skip
        Alarm.objects.create(
            kind=kind, sensor_id=sensor, organisation=cast.observatory, opened_at=LATE_FROM, detail=detail
        )
    Alarm.objects.create(
        kind="mass_silence", group="asn 64512", opened_at=LATE_FROM, detail={"sensors": 40, "expected": 41}
    )


def try_ports() -> None:
    """Let canaries have reached some ports of a sensor and missed one."""
    from teiten.fleet.canary.models import Reach

    for port in (22, 23, 80, 445):
        Reach.objects.create(
            sensor_id=3, address="192.0.2.3", protocol=6, port=port, arrived=9, lost=3, lost_in_row=3 if port > 80 else 0,
            last_tried_at=NOW, last_arrived_at=NOW, lost_since=NOW if port > 80 else None,
        )  # fmt: skip


def write_notes(cast: Any) -> None:
    """Write what an analyst noticed, and what she calls a fingerprint."""
    from teiten.datasets import annotating, naming
    from teiten.fleet.services import Act

    act = Act(at=NOW, actor=cast.ann)
    annotating.create_annotation(
        at=NOW - timedelta(days=5), kind="cve", text_ja="CVE-2026-0001 が公表された", text_en="CVE-2026-0001 was published",
        link="https://example.org/cve-2026-0001", act=act,
    )  # fmt: skip
    annotating.create_annotation(
        at=NOW - timedelta(days=2), until_at=NOW - timedelta(days=1), kind="campaign", dataset="simulated",
        text_ja="23/TCP への走査が増えた", text_en="More scans of 23/TCP", act=act,
    )  # fmt: skip
    naming.name_fingerprint(
        kind="tcp_fp", value="1024::1460:", name="Example scanner", version="2.1", valid_from=START,
        note="Seen in the logs of our own test.", act=act,
    )  # fmt: skip


def let_see_payload(cast: Any) -> None:
    """Grant payload to Ann, who never states a reason, and to Amy, who may.

    The clock stands still, so that a reason once stated opens payload to that person
    in every test of the module that comes after.
    """
    from teiten.accounts import services
    from teiten.portal.testing import PASSWORD

    amy = services.create_user(
        user_id="amy", display_name="Amy", organisation=cast.observatory, role="analyst", password=PASSWORD,
        must_change_password=False, act=services.Act(at=NOW),
    )  # fmt: skip
    for user in (cast.ann, amy):
        user.may_see_payload = True
        user.save(update_fields=["may_see_payload"])


@contextmanager
def running_site(server_url: str) -> Iterator[Site]:
    """Serve the portal on loopback, with a browser beside it."""
    from teiten.portal.testing import PASSWORD, make_cast, migrated_database, start_django_for_tests

    start_django_for_tests()
    from teiten.fleet.facts import FleetFacts
    from teiten.portal import middleware, services
    from teiten.search.service import Search
    from teiten.store import writer
    from teiten.store.testing import make_coverage, make_examples, make_packets, temporary_store

    clock = FixedClock(NOW)
    with migrated_database(server_url), temporary_store(clock) as store:
        cast = make_cast(NOW)
        fill_fleet(cast)
        operated = fill_operations(cast)
        write_notes(cast)
        let_see_payload(cast)
        windows = make_windows()
        rows = make_packets(*make_rows(windows))
        block = writer.BlockRows(
            block="00000000-0000-0000-0000-0000000000fe", composed_at_us=clock.now_us(), packets=rows,
            coverage=make_coverage(*windows),
            examples=make_examples(
                {"payload_hash": PAYLOAD_HASH, "observed_at": NOW - timedelta(hours=2), "src_addr": SOURCE, "dst_port": 53,
                 "payload": b"<script>alert(1)</script>" * 4, "payload_length": 100},
                dataset="simulated", landed_at=NOW - timedelta(hours=1),
            ),
        )  # fmt: skip
        writer.insert_block(store, block)
        search = Search(store, clock, fleet=FleetFacts(clock))
        before = middleware.clock
        middleware.clock = clock
        services.set_search(search)
        with _serving() as url, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
            yield Site(url, browser, PASSWORD, operated)
            browser.close()
        middleware.clock = before
        search.close()


@contextmanager
def _serving() -> Iterator[str]:
    import uvicorn

    from teiten.portal.asgi import application

    config = uvicorn.Config(
        application, host="127.0.0.1", port=0, log_level="error", lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="portal")
    thread.start()
    _wait_for(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(15)


def _wait_for(test: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < deadline, "the portal did not start"
        time.sleep(0.02)
