"""What people do with the portal, done in a real browser: mouse, keyboard, and no script of ours in between."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Page, Route, expect

sys.path.insert(0, str(Path(__file__).parent))
from portal_fixtures import CHROMIUM, SOURCE, Site, running_site

pytestmark = [
    pytest.mark.browser,
    pytest.mark.requirement("R2.3", "R3.1"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium"),
    pytest.mark.timeout(300),
]

ASKED = "dataset=simulated&period=7d&metric=packets"


@pytest.fixture(scope="module")
def site(postgres_server_url: str) -> Iterator[Site]:
    with running_site(postgres_server_url) as running:
        yield running


def test_a_stranger_is_asked_to_sign_in_and_comes_back_to_the_page(site: Site) -> None:
    with site.visit("") as (page, findings):
        page.goto(f"{site.url}/sensors/?{ASKED}")
        page.fill("#id_user_id", "ann")
        page.fill("#id_password", "wrong password")
        page.press("#id_password", "Enter")
        expect(page.get_by_role("alert")).to_be_visible()

        page.fill("#id_user_id", "ann")
        page.fill("#id_password", site.password)
        page.press("#id_password", "Enter")

        page.wait_for_url(f"{site.url}/sensors/?{ASKED}")
        assert findings.problems == []


def test_the_metric_is_switched_and_stays_in_the_address(site: Site) -> None:
    with site.visit() as (page, findings):
        page.goto(f"{site.url}/?{ASKED}")
        page.get_by_role("link", name="Hosts", exact=True).click()

        page.wait_for_url("**metric=hosts**")
        expect(page.locator(".kpi.on dt")).to_have_text("Source hosts")
        page.get_by_role("navigation", name="Main screens").get_by_role("link", name="Explore").click()
        page.wait_for_url("**/explore/**metric=hosts**")
        assert "dataset=simulated" in page.url
        assert findings.problems == []


def test_a_value_of_the_overview_leads_to_its_packets(site: Site) -> None:
    with site.visit() as (page, findings):
        page.goto(f"{site.url}/?{ASKED}")
        page.locator("table[data-file='teiten-dst_port'] a", has_text="23/TCP").click()

        expect(page.locator("h1")).to_have_text("23/TCP")
        page.get_by_role("link", name="Open in Explore").click()
        expect(page.locator(".chip .mono")).to_have_text("dst_port = 23/tcp")
        ports = page.locator("#rows tr td:nth-child(6)").all_inner_texts()
        assert set(ports) == {"23"}
        assert findings.problems == []


def test_facets_keep_and_leave_out_values_and_a_second_press_takes_it_back(site: Site) -> None:
    with site.visit() as (page, findings):
        page.goto(f"{site.url}/explore/?{ASKED}")
        page.get_by_role("link", name="Keep China CN only").click()
        expect(page.locator(".chip .mono")).to_have_text("country = CN")
        assert set(page.locator("#rows tr td:nth-child(4)").all_inner_texts()) == {"CN"}

        page.get_by_role("link", name="Keep China CN only").click()
        expect(page.locator(".chip")).to_have_count(0)
        page.get_by_role("link", name="Leave out China CN").click()
        expect(page.locator(".chip.not .mono")).to_have_text("country = CN")
        assert "CN" not in page.locator("#rows tr td:nth-child(4)").all_inner_texts()
        assert findings.problems == []


def test_a_query_is_typed_with_completion_and_no_mouse(site: Site) -> None:
    with site.visit() as (page, findings):
        page.goto(f"{site.url}/explore/?{ASKED}")
        page.focus("#q")
        page.keyboard.type("dst_po")
        expect(page.locator("#q-list li").first).to_contain_text("dst_port")
        page.keyboard.press("Tab")
        page.keyboard.type("= 22")
        page.keyboard.press("Escape")
        page.keyboard.press("Enter")

        page.wait_for_url("**q=dst_port**")
        expect(page.locator(".chip .mono")).to_have_text("dst_port = 22")
        assert findings.problems == []


def test_an_answer_that_was_overtaken_takes_no_completion_away(site: Site) -> None:
    with site.visit() as (page, findings):
        page.goto(f"{site.url}/explore/?{ASKED}")
        held: list[Route] = []

        def hold(route: Route) -> None:
            held.append(route)

        page.route("**text=d&**", hold)
        page.focus("#q")
        page.keyboard.type("dst_po")
        expect(page.locator("#q-list li").first).to_contain_text("dst_port")
        with page.expect_response("**text=d&**") as late:
            held[0].continue_()
        assert late.value.finished() is None
        page.keyboard.press("Tab")

        expect(page.locator("#q")).to_have_value("dst_port ")
        assert findings.problems == []


def test_a_senseless_filter_is_refused_with_its_rule_and_can_be_mended(site: Site) -> None:
    with site.visit() as (page, _):
        page.goto(f"{site.url}/explore/?{ASKED}&q=dst_port+%3D+99999")

        expect(page.get_by_role("alert")).to_contain_text("dst_port")
        expect(page.get_by_role("alert")).to_contain_text("65535")
        page.fill("#q", "dst_port = 23")
        page.keyboard.press("Enter")
        expect(page.locator(".chip .mono")).to_have_text("dst_port = 23")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("period=4711d", "period"),
        ("dataset=nowhere", "dataset"),
        ("surprise=1", "surprise"),
        ("metric=speed", "metric"),
    ],
)
def test_a_senseless_address_names_the_parameter(site: Site, query: str, field: str) -> None:
    with site.visit() as (page, _):
        answer = page.goto(f"{site.url}/?{query}")

        assert answer is not None
        assert answer.status == 400
        expect(page.get_by_role("alert")).to_contain_text(field)


def test_a_packet_opens_in_the_drawer_and_escape_closes_it(site: Site) -> None:
    with site.visit() as (page, findings):
        page.goto(f"{site.url}/explore/?{ASKED}&q=dst_port+%3D+53%2Fudp")
        first = page.locator("#rows tr a").first
        first.focus()
        page.keyboard.press("Enter")

        expect(page.locator("#drawer")).to_contain_text("Headers")
        # Nobody sees a payload without saying why; what it looks like then is a test of its own.
        expect(page.locator("#drawer")).not_to_contain_text("<script>")
        expect(page.locator("#drawer").get_by_role("link", name="State a reason")).to_be_visible()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Escape")
        expect(page.locator("#drawer")).to_be_hidden()
        assert findings.problems == []


def test_older_packets_are_added_below(site: Site) -> None:
    with site.visit() as (page, findings):
        page.goto(f"{site.url}/explore/?{ASKED}")
        expect(page.locator("#rows tr")).to_have_count(50)
        page.get_by_role("link", name="Older packets").click()
        expect(page.locator("#rows tr")).to_have_count(100)
        page.get_by_role("link", name="Older packets").click()
        expect(page.locator("#rows tr")).to_have_count(150)

        references = page.locator("#rows tr td:first-child a").evaluate_all(
            "links => links.map(link => link.href)"
        )
        assert len(set(references)) == 150
        assert findings.problems == []


def test_packets_are_taken_away_as_csv_and_parquet(site: Site) -> None:
    with site.visit() as (page, findings):
        page.goto(f"{site.url}/explore/?{ASKED}&q=dst_port+%3D+8728")
        counted = page.locator("#h-packets + .sub").inner_text().split(" ")[0].replace(",", "")

        rows = list(csv.DictReader(io.StringIO(take(page, "CSV").decode("utf-8-sig"))))
        table = pq.read_table(io.BytesIO(take(page, "Parquet")))

        assert len(rows) == table.num_rows == int(counted)
        assert {row["dst_port"] for row in rows} == {"8728"}
        assert findings.problems == []


def take(page: Page, kind: str) -> bytes:
    page.locator(".export summary").click()
    with page.expect_download() as waiting:
        page.locator(".export .menu a", has_text=kind).click()
    page.keyboard.press("Escape")
    return Path(waiting.value.path()).read_bytes()


def test_the_search_box_leads_to_a_source_and_to_a_port(site: Site) -> None:
    with site.visit() as (page, findings):
        page.goto(f"{site.url}/?{ASKED}")
        page.locator("h1").click()
        page.keyboard.press("/")
        page.keyboard.type(SOURCE.replace(".", "[.]"))
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text(SOURCE)
        expect(page.locator(".verdict").first).to_contain_text("Mirai-like")

        page.fill("#find", "53/udp")
        page.press("#find", "Enter")
        expect(page.locator("h1")).to_have_text("53/UDP")
        page.fill("#find", "what is this")
        page.press("#find", "Enter")
        expect(page.get_by_role("alert")).to_contain_text("an address")
        assert findings.problems == []


def test_every_chart_has_a_table(site: Site) -> None:
    with site.visit() as (page, findings):
        page.goto(f"{site.url}/?{ASKED}")
        panel = page.locator("section", has=page.locator("#h-trend"))
        panel.get_by_role("button", name="Table").click()

        expect(panel.locator("table")).to_be_visible()
        expect(panel.locator("canvas")).to_be_hidden()
        with page.expect_download() as waiting:
            panel.get_by_role("button", name="CSV").click()
        rows = list(csv.reader(io.StringIO(Path(waiting.value.path()).read_text(encoding="utf-8-sig"))))
        assert rows[0][:3] == ["Time", "Watched", "Total"]
        assert len(rows) > 100
        assert findings.problems == []


def test_language_and_colours_are_switched_and_kept(site: Site) -> None:
    with site.visit() as (page, findings):
        page.goto(f"{site.url}/?{ASKED}")
        page.get_by_role("button", name="JA").click()
        expect(page.locator("h1")).to_have_text("状況")
        page.get_by_role("button", name="EN").click()
        expect(page.locator("h1")).to_have_text("Overview")

        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.get_by_role("button", name="Switch between light and dark").click()
        page.reload()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
        assert page.locator("html").get_attribute("data-theme") == "dark"
        assert findings.problems == []


def test_a_member_sees_no_sensor_and_no_live_packets(site: Site) -> None:
    with site.visit("alice") as (page, findings):
        page.goto(f"{site.url}/explore/?{ASKED}")
        expect(page.locator("table.rows thead")).to_contain_text("Packets, about")
        expect(page.locator("#rows a[hx-get]")).to_have_count(0)
        expect(page.locator("main")).not_to_contain_text("192.0.2.")
        expect(page.get_by_role("link", name="Live")).to_have_count(0)
        page.goto(f"{site.url}/sensors/?{ASKED}")
        expect(page.locator("main")).not_to_contain_text("SIM-0")
        assert findings.problems == []

        answer = page.goto(f"{site.url}/live/?{ASKED}")
        assert answer is not None
        assert answer.status == 403


def test_a_sensor_opens_from_its_cell(site: Site) -> None:
    with site.visit() as (page, findings):
        page.goto(f"{site.url}/sensors/?{ASKED}")
        page.locator("a.cell", has=page.locator("path.st-s")).click()

        expect(page.locator("#drawer")).to_contain_text("SIM-008")
        expect(page.locator("#drawer")).to_contain_text("Silent")
        expect(page.locator("#drawer .calendar")).to_be_visible()
        page.locator(".states a", has_text="Silent").click()
        expect(page.locator("table[data-file='teiten-sensors'] tbody tr")).to_have_count(1)
        assert findings.problems == []


def test_live_asks_again_and_can_be_held(site: Site) -> None:
    with site.visit() as (page, findings):
        page.goto(f"{site.url}/live/?{ASKED}")
        with page.expect_response("**/live/feed/**") as waiting:
            pass
        assert waiting.value.status == 200
        page.get_by_role("button", name="Hold").click()
        expect(page.locator("#feed")).to_have_class("held")
        assert findings.problems == []


def test_a_dragged_stretch_becomes_the_period(site: Site) -> None:
    with site.visit() as (page, findings):
        page.goto(f"{site.url}/explore/?{ASKED}")
        expect(page.locator(".trend canvas")).to_be_visible()
        box = page.locator(".trend .plot").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 300, box["y"] + 80)
        page.mouse.down()
        page.mouse.move(box["x"] + 400, box["y"] + 90, steps=4)
        page.mouse.up()

        page.wait_for_url("**period=custom**")
        expect(page.locator(".trend canvas")).to_be_visible()
        assert findings.problems == []


@pytest.mark.requirement("R0.2")
def test_an_analyst_writes_an_annotation_sees_it_on_a_trend_and_withdraws_it(site: Site) -> None:
    with site.visit() as (page, findings):
        page.goto(f"{site.url}/notes/?{ASKED}")
        page.get_by_role("button", name="Write", exact=True).click()
        expect(page.get_by_role("alert").first).to_be_visible()

        page.fill("#id_at", "2026-11-18T12:00")
        page.fill("#id_until_at", "2026-11-17T12:00")
        page.fill("#id_text_ja", "テストの注記")
        page.fill("#id_text_en", "A note of the test")
        page.get_by_role("button", name="Write", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("2026-11-17")

        page.fill("#id_until_at", "")
        page.get_by_role("button", name="Write", exact=True).click()
        expect(page.get_by_role("cell", name="A note of the test", exact=True)).to_be_visible()
        page.goto(f"{site.url}/port/23-tcp?{ASKED}")
        expect(page.locator(".notes")).to_contain_text("A note of the test")

        page.goto(f"{site.url}/notes/?{ASKED}")
        page.get_by_role("button", name="Withdraw: A note of the test").click()
        expect(page.locator("tr.gone")).to_contain_text("A note of the test")
        page.goto(f"{site.url}/port/23-tcp?{ASKED}")
        expect(page.locator(".notes")).not_to_contain_text("A note of the test")
        assert [problem for problem in findings.problems if "400" not in problem] == []


@pytest.mark.requirement("R0.1")
def test_a_member_reads_annotations_and_names_and_writes_none(site: Site) -> None:
    with site.visit("alice") as (page, findings):
        page.goto(f"{site.url}/notes/?{ASKED}")
        expect(page.locator("table")).to_contain_text("CVE-2026-0001")
        expect(page.locator("main form")).to_have_count(0)

        page.goto(f"{site.url}/names/probe/dns-any?{ASKED}")
        expect(page.locator("main form")).to_have_count(0)
        assert findings.problems == []


@pytest.mark.requirement("R0.1")
def test_payload_asks_for_a_reason_then_shows_and_says_so(site: Site) -> None:
    with site.visit("amy") as (page, _):
        page.goto(f"{site.url}/payload/0123456789abcdef?{ASKED}")
        expect(page.locator(".example")).to_have_count(0)
        page.get_by_role("link", name="State a reason").click()
        page.fill("#id_reason", "short")
        page.get_by_role("button", name="Open payload").click()
        expect(page.get_by_role("alert")).to_be_visible()

        page.fill("#id_reason", "To see what this probe asks for")
        page.get_by_role("button", name="Open payload").click()

        page.wait_for_url("**/payload/0123456789abcdef**")
        expect(page.locator(".topbar .tag.open")).to_contain_text("Payload open until")
        expect(page.locator(".example .payload")).to_contain_text("<script>alert(1)</script>")
    with site.visit("dana") as (page, findings):
        page.goto(f"{site.url}/disclosures/?dataset=simulated")
        expect(page.locator("table")).to_contain_text("To see what this probe asks for")
        assert findings.problems == []


@pytest.mark.requirement("R0.2")
def test_two_groups_of_sensors_are_chosen_and_compared(site: Site) -> None:
    with site.visit() as (page, findings):
        page.goto(f"{site.url}/compare/?{ASKED}")
        page.locator(".side-one .pick", has_text="Region").click()
        page.locator(".side-one").get_by_label("Kanto").check()
        page.keyboard.press("Escape")
        page.locator(".side-other .pick", has_text="Region").click()
        page.locator(".side-other").get_by_label("Kinki").check()
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Compare", exact=True).click()

        page.wait_for_url("**one_region=kanto**")
        expect(page.locator("table.ratios tbody tr").first).to_contain_text("23/TCP")
        assert page.locator("table.ratios circle").count() >= 1
        assert findings.problems == []


@pytest.mark.requirement("R2.3")
def test_a_value_leads_to_its_page_and_its_number_to_the_rows_behind_it(site: Site) -> None:
    with site.visit() as (page, findings):
        page.goto(f"{site.url}/country/CN?{ASKED}&survey=without")
        page.locator("table[data-file='teiten-dst_port'] a", has_text="22/TCP").first.click()
        page.wait_for_url("**/port/22-tcp**survey=without**")

        page.locator("table[data-file='teiten-country'] a.q").first.click()
        page.wait_for_url("**/explore/**survey=without**")
        chips = page.locator(".chip .mono").all_inner_texts()
        assert "dst_port = 22/tcp" in chips
        assert findings.problems == []


def test_a_button_that_is_pressed_twice_sends_its_form_once(site: Site) -> None:
    """The second press would throw the first one's answer away: a download of tokens above all."""
    with site.visit("dana") as (page, findings):
        page.goto(f"{site.url}/operations/alarms/")

        with page.expect_navigation():
            prevented = page.locator("form[action*=acknowledge]").first.evaluate(
                """form => {
                  const prevented = [];
                  addEventListener("submit", (event) => prevented.push(event.defaultPrevented));
                  form.requestSubmit();
                  form.requestSubmit();
                  return prevented;
                }"""
            )

        assert prevented == [False, True]
        assert findings.problems == []


def test_an_operator_finds_what_failed_in_a_roll_out(site: Site) -> None:
    assert site.operated is not None
    with site.visit("dana") as (page, findings):
        page.goto(f"{site.url}/operations/rollouts/{site.operated.rollout}/")

        page.locator(".legend a", has_text="Failed").click()

        expect(page.locator("tbody tr")).to_have_count(2)
        expect(page.locator("tbody")).to_contain_text("capture did not start")
        assert findings.problems == []
