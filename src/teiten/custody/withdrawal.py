"""What ends at once when an organisation leaves: its people's access, and its sensors."""

from __future__ import annotations

from collections.abc import Mapping

from teiten.accounts import audit, tokens
from teiten.accounts import services as accounts
from teiten.accounts.models import ApiToken, Organisation, User
from teiten.fleet import services as fleet
from teiten.fleet.models import Sensor, SensorState


def withdraw(organisation: Organisation, *, reason: str, act: fleet.Act) -> Mapping[str, int]:
    """Close accounts, end sessions and tokens, revoke sensors; gives how many of each.

    People's rows stay, so that the records of what they did keep their subject; sensors' rows
    stay, so that figures keep their denominator.
    """
    access = accounts.Act(act.at, act.actor)
    # All rows before the first record of the chain: whoever holds the chain must wait for no row.
    users = list(
        User.objects.select_for_update().filter(organisation=organisation, is_active=True).order_by("pk")
    )
    open_tokens = list(
        ApiToken.objects.select_for_update(of=("self",))
        .filter(user__organisation=organisation, revoked_at=None)
        .order_by("pk")
    )
    sensors = list(
        Sensor.objects.select_for_update()
        .filter(organisation=organisation)
        .exclude(state=SensorState.REVOKED)
        .order_by("pk")
    )
    for token in open_tokens:
        tokens.revoke_token(token, now=act.at, actor=act.actor)
    for user in users:
        accounts.change_user(user, is_active=False, act=access)
    for sensor in sensors:
        fleet.revoke_sensor(sensor, reason=reason, act=act)
    Organisation.objects.filter(pk=organisation.pk).update(is_active=False)
    audit.append("organisation.closed", f"organisation:{organisation.code}", {"reason": reason}, act)
    return {"accounts": len(users), "tokens": len(open_tokens), "sensors": len(sensors)}
