"""What may be done with one sensor: by operators with any, by hosts with their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timezone
from typing import Any

from django import forms
from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from teiten.accounts.models import Role, User
from teiten.fleet import holding, hosting, recovering, services
from teiten.fleet.models import Sensor, SensorState, StoppedBy
from teiten.fleet.services import Act, IssuedToken
from teiten.portal.acting import ReasonForm

_S = SensorState
_MAY_RUN = (_S.ACTIVE, _S.QUARANTINED)
_ENROLLED = (_S.ACTIVE, _S.QUARANTINED, _S.SUSPENDED, _S.PENDING_APPROVAL)
_NOT_YET = (_S.CREATED, _S.TOKEN_ISSUED)


class NetworkForm(forms.Form):
    """From where a token may be used."""

    cidr = forms.CharField(
        label=_("Allowed network"), required=False, max_length=49,
        help_text=_("The token works only from there, for example 192.0.2.0/24."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )  # fmt: skip


class RecoverForm(ReasonForm, NetworkForm):
    """Why a key is made anew, and from where."""

    field_order = ("reason", "cidr")


class WithdrawForm(ReasonForm):
    """Why a sensor is taken away, and its name once more."""

    name = forms.CharField(
        label=_("Name of the sensor"), max_length=64,
        help_text=_("Type it, so that it is no other sensor that you withdraw."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )  # fmt: skip
    field_order = ("name", "reason")


class MaintenanceForm(ReasonForm):
    """When a sensor is off as planned; instants are the installation's wall clock."""

    start = forms.DateTimeField(label=_("From"), widget=forms.DateTimeInput(attrs={"type": "datetime-local"}))
    end = forms.DateTimeField(label=_("To"), widget=forms.DateTimeInput(attrs={"type": "datetime-local"}))
    field_order = ("start", "end", "reason")


class ApproveForm(forms.Form):
    """An approval says nothing but yes."""


@dataclass(frozen=True)
class Action:
    """One thing that may be done."""

    name: str
    label: Promise
    #: What it means, in one sentence.
    meaning: Promise
    run: Callable[[Sensor, Mapping[str, Any], Act], object]
    form: type[forms.Form] = ReasonForm
    for_hosts: bool = False
    for_operators: bool = True
    is_final: bool = False
    states: tuple[str, ...] = tuple(one.value for one in SensorState if one is not SensorState.REVOKED)
    needs_held: bool = False

    def may(self, viewer: User, sensor: Sensor) -> bool:
        """Tell whether a person may do it at all; the sensor's state is another question."""
        if viewer.has_role(Role.OPERATOR):
            return self.for_operators
        return self.for_hosts and sensor.organisation_id == viewer.organisation_id

    def fits(self, viewer: User, sensor: Sensor) -> bool:
        """Tell whether it makes sense in the sensor's state."""
        if self.needs_held:
            return sensor.held_epoch > 0
        if self.name == "recover":
            return recovering.is_recoverable(sensor)
        if self.name == "resume" and not viewer.has_role(Role.OPERATOR):
            return sensor.state == _S.SUSPENDED and sensor.stopped_by == StoppedBy.HOST
        return sensor.state in self.states


def _approve(sensor: Sensor, _values: Mapping[str, Any], act: Act) -> object:
    return services.approve_sensor(sensor, act=act)


def _suspend(sensor: Sensor, values: Mapping[str, Any], act: Act) -> object:
    return services.suspend_sensor(sensor, reason=values["reason"], act=act)


def _resume(sensor: Sensor, values: Mapping[str, Any], act: Act) -> object:
    return hosting.resume_sensor(sensor, reason=values["reason"], act=act)


def _revoke(sensor: Sensor, values: Mapping[str, Any], act: Act) -> object:
    return services.revoke_sensor(sensor, reason=values["reason"], act=act)


def _issue(sensor: Sensor, values: Mapping[str, Any], act: Act) -> IssuedToken:
    return services.issue_token(sensor, act=act, config=settings.TEITEN_FLEET, cidr=values["cidr"])


def _recover(sensor: Sensor, values: Mapping[str, Any], act: Act) -> IssuedToken:
    return recovering.issue_recovery(
        sensor, reason=values["reason"], act=act, config=settings.TEITEN_FLEET, cidr=values["cidr"]
    )


def _release(sensor: Sensor, values: Mapping[str, Any], act: Act) -> object:
    return holding.release_batches(sensor, reason=values["reason"], act=act)


def _discard(sensor: Sensor, values: Mapping[str, Any], act: Act) -> object:
    return holding.discard_batches(sensor, reason=values["reason"], act=act)


def _pause(sensor: Sensor, values: Mapping[str, Any], act: Act) -> object:
    return hosting.pause_sensor(sensor, reason=values["reason"], act=act)


def _withdraw(sensor: Sensor, values: Mapping[str, Any], act: Act) -> object:
    return hosting.withdraw_sensor(sensor, name=values["name"], reason=values["reason"], act=act)


def _maintain(sensor: Sensor, values: Mapping[str, Any], act: Act) -> object:
    start, end = (values[name].astimezone(timezone.utc) for name in ("start", "end"))
    return hosting.plan_maintenance(sensor, start=start, end=end, reason=values["reason"], act=act)


ACTIONS = (
    Action("approve", _("Approve"), _("It may send and obey from its next request on."), _approve,
           form=ApproveForm, states=(_S.PENDING_APPROVAL,)),
    Action("token", _("Issue a token"), _("A new one-time token; older unused ones stop working."), _issue,
           form=NetworkForm, states=_NOT_YET),
    Action("resume", _("Resume"), _("It may send again from its next request on."), _resume, for_hosts=True,
           states=(_S.SUSPENDED, _S.QUARANTINED)),
    Action("maintenance", _("Declare maintenance"),
           _("Silence as planned raises no alarm; the time still counts as not watched."), _maintain,
           form=MaintenanceForm, for_hosts=True),
    Action("suspend", _("Suspend"), _("Nothing of it is taken until it is resumed; it keeps what it records."), _suspend,
           states=_MAY_RUN),
    Action("pause", _("Pause"), _("Nothing of it is taken until you or an operator resume it."), _pause,
           for_hosts=True, for_operators=False, states=_MAY_RUN),
    Action("recover", _("Recover"), _("A token with which the host makes a new key, in a new epoch."), _recover,
           form=RecoverForm, states=_ENROLLED),
    Action("release", _("Release held batches"), _("What was kept back on suspicion is loaded."), _release,
           needs_held=True),
    Action("discard", _("Discard held batches"), _("What was kept back on suspicion counts nowhere, for ever."), _discard,
           needs_held=True, is_final=True),
    Action("revoke", _("Revoke"), _("Its keys are worth nothing from its next request on, for ever."), _revoke, is_final=True),
    Action("withdraw", _("Withdraw"), _("The sensor leaves the telescope at once; what it observed stays. All contacts and the operators are told."),
           _withdraw, form=WithdrawForm, for_hosts=True, for_operators=False, is_final=True),
)  # fmt: skip


def find_action(name: str) -> Action | None:
    """Give an action by its name."""
    return next((action for action in ACTIONS if action.name == name), None)


def list_actions(viewer: User, sensor: Sensor) -> list[Action]:
    """Give what a person may do with a sensor as it stands."""
    return [action for action in ACTIONS if action.may(viewer, sensor) and action.fits(viewer, sensor)]
