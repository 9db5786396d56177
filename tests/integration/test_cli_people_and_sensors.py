"""What `teiten user …` and `teiten sensor …` do and say."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from teiten.cli import sensor_verbs, user_verbs
from teiten.cli.errors import CliError
from teiten.fleet.config import FleetConfig
from teiten.foundation.clock import FixedClock
from teiten.foundation.errors import TeitenError
from teiten.portal.testing import migrated_database

pytestmark = pytest.mark.requirement("R2.1", "R3.1")
CONFIG = FleetConfig()


@pytest.fixture(autouse=True)
def database(postgres_server_url: str) -> Iterator[str]:
    with migrated_database(postgres_server_url) as url:
        yield url


def test_the_first_operator_is_made_and_can_sign_in(clock: FixedClock) -> None:
    from teiten.accounts.config import AccountsConfig
    from teiten.accounts.signin import verify_credentials

    assert not user_verbs.has_users()

    first = user_verbs.create_user(
        user_id="operator",
        role="operator",
        organisation="observatory",
        organisation_names=("観測センター", "Observatory"),
        clock=clock,
    )

    assert user_verbs.has_users()
    assert first.password in str(first)
    user = verify_credentials(
        user_id="operator",
        password=first.password,
        address="192.0.2.1",
        now=clock.now(),
        config=AccountsConfig(),
    )
    assert user.must_change_password
    assert user.organisation.name_ja == "観測センター"
    line = user_verbs.list_users()[0]
    assert (line.user_id, line.role, line.organisation) == ("operator", "operator", "observatory")


def test_passwords_and_tokens(clock: FixedClock) -> None:
    from teiten.accounts import tokens

    made = user_verbs.create_user(user_id="ann", role="analyst", organisation="alpha", clock=clock)
    again = user_verbs.reset_password(" ANN ", clock=clock)
    issued = user_verbs.issue_token("ann", days=30, label="SIEM", clock=clock)

    assert made.password != again.password
    assert issued.token in str(issued)
    assert tokens.authenticate_token(issued.token, address="192.0.2.1", now=clock.now()).user.user_id == "ann"
    user_verbs.switch_user("ann", is_active=False, clock=clock)
    assert not user_verbs.list_users()[0].is_active


@pytest.mark.parametrize("days", [0, -1, 366, 10**12])
def test_a_token_of_a_silly_length_is_refused(clock: FixedClock, days: int) -> None:
    user_verbs.create_user(user_id="ann", role="analyst", organisation="alpha", clock=clock)

    with pytest.raises(TeitenError, match="expires_at"):
        user_verbs.issue_token("ann", days=days, label="x", clock=clock)


def test_an_unknown_user_is_named(clock: FixedClock) -> None:
    for verb in (
        lambda: user_verbs.reset_password("ghost", clock=clock),
        lambda: user_verbs.issue_token("ghost", days=1, label="x", clock=clock),
    ):
        with pytest.raises(CliError, match=r"ghost.*user list"):
            verb()


def test_a_refused_user_leaves_no_organisation(clock: FixedClock) -> None:
    from teiten.accounts.models import Organisation

    with pytest.raises(TeitenError, match="password"):
        user_verbs.create_user(
            user_id="ann", role="analyst", organisation="alpha", password="short", clock=clock
        )

    assert not Organisation.objects.exists()


def test_a_sensor_from_creation_to_its_end(clock: FixedClock) -> None:
    made = sensor_verbs.create_sensor(
        name="TK-001", region="kanto", region_names=("関東", "Kanto"), clock=clock, config=CONFIG
    )
    newer = sensor_verbs.issue_token(str(made.sensor), clock=clock, config=CONFIG)

    assert made.token.startswith("tt1_")
    assert newer.token != made.token
    assert newer.token in str(newer)
    (line,) = sensor_verbs.list_sensors(clock=clock, config=CONFIG)
    assert (line.name, line.region, line.organisation, line.standing) == (
        "TK-001",
        "kanto",
        "observatory",
        "token_issued",
    )
    assert line.conditions == ("waiting",)
    with pytest.raises(TeitenError, match="cannot become suspended"):
        sensor_verbs.suspend_sensor("TK-001", reason="x", clock=clock)
    with pytest.raises(TeitenError, match="cannot become active"):
        sensor_verbs.resume_sensor("TK-001", reason="x", clock=clock)
    moved = sensor_verbs.revoke_sensor("TK-001", reason="sold", clock=clock)
    assert str(moved) == f"sensor {made.sensor} TK-001 is revoked now"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": "a b"}, "name"),
        ({"region": "Kantō"}, "code"),
        ({"organisation": "A B"}, "code"),
        ({"dataset": "real"}, "dataset"),
        ({"cidr": "x"}, "cidr"),
    ],
)
def test_a_refused_sensor_leaves_nothing(clock: FixedClock, given: dict, field: str) -> None:
    from teiten.accounts.models import Organisation
    from teiten.fleet.models import Region, Sensor

    with pytest.raises(TeitenError, match=field):
        sensor_verbs.create_sensor(
            **{"name": "TK-001", "region": "kanto", **given}, clock=clock, config=CONFIG
        )

    assert not Sensor.objects.exists()
    assert not Region.objects.exists()
    assert not Organisation.objects.exists()
