"""What the observatory writes on its trends by itself, each thing once."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import pytest

from teiten.datasets.config import DatasetsConfig
from teiten.portal.testing import Cast
from teiten.traffic.rules import RULE_VERSION

sys.path.insert(0, str(Path(__file__).parent))
from custody_fixtures import DAY, NOW, make_sensor

pytestmark = pytest.mark.requirement("R0.2", "R5.1")


def notice(now=NOW, sensors: int = 2):
    from teiten.datasets.noticing import notice

    return notice(now=now, zone="Asia/Tokyo", config=DatasetsConfig(noted_sensors=sensors))


def enrol(sensor, at) -> None:
    from teiten.fleet import journal
    from teiten.fleet.models import SensorEventKind

    journal.record_event(SensorEventKind.ENROLLED, sensor, at=at)


def test_a_new_version_of_the_rules_is_noted_at_its_first_start(cast: Cast) -> None:
    from teiten.datasets.selectors import annotations_between

    assert notice()["rules"] == 1
    assert notice(NOW + DAY)["rules"] == 0

    (row,) = annotations_between(NOW, NOW + DAY, "live")
    assert (row.kind, row.at, row.author) == ("rule", NOW, None)
    assert str(RULE_VERSION) in row.text_ja
    assert str(RULE_VERSION) in row.text_en


def test_sensors_that_were_added_are_noted_when_their_day_is_over(cast: Cast) -> None:
    from teiten.datasets.models import Annotation

    live = [make_sensor(f"alpha-{number}", cast.alpha) for number in range(3)]
    simulated = make_sensor("beta-1", cast.beta, dataset="simulated")
    for sensor in (*live, *live, simulated):
        enrol(sensor, NOW)

    assert notice(NOW)["sensors"] == 0
    assert notice(NOW + DAY)["sensors"] == 1
    assert notice(NOW + 2 * DAY)["sensors"] == 0

    row = Annotation.objects.get(kind="sensors")
    assert (row.dataset, row.text_en, row.text_ja) == ("live", "3 sensors added", "センサー3台を追加")
    # The day began at midnight in Tokyo.
    assert row.at == NOW.replace(hour=0) - timedelta(hours=9)
