"""The fleet over the API: who watches and how, what is wrong, what was commanded and rolled out. It reads only.

Every list starts from the caller: operators and analysts get the whole fleet, members
what concerns sensors of their own organisation (other sensors stand in ``/sensors``,
under pseudonyms). Lists come page by page, each page from where the one before ended,
so that nothing is skipped or told twice while the fleet changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Schema
from pydantic import Field

from teiten.accounts.models import User
from teiten.fleet import selectors
from teiten.fleet.alarms.models import AlarmKind
from teiten.fleet.alarms.selectors import alarms_visible_to
from teiten.fleet.canary.selectors import reachability_visible_to
from teiten.fleet.commands import selectors as commands
from teiten.fleet.health import Condition
from teiten.fleet.rollouts import selectors as rollouts
from teiten.fleet.selectors import may_see_all
from teiten.portal import middleware
from teiten.portal.api import fleet_words as words
from teiten.portal.api.admission import admit_to_fleet
from teiten.portal.api.encoding import respond
from teiten.portal.api.fleet_pages import Listed, read_list, read_number
from teiten.portal.api.parameters import refuse_unknown
from teiten.search.errors import NotFound, QueryError

router = Router(tags=["fleet"])


class PageAsked(Schema):
    page: str | None = Field(None, description="`next_page` of the answer before.")
    limit: int = Field(100, ge=1, le=1000, description="1 to 1,000.")


class SensorsAsked(PageAsked):
    dataset: Literal["live", "simulated"] | None = Field(None, description="Only sensors of this data set.")
    region: str | None = Field(None, description="Code of a region.")
    organisation: str | None = Field(None, description="Code of the organisation that houses them.")
    state: str | None = Field(
        None,
        description="Only those of which this is true.",
        json_schema_extra={"enum": [one.value for one in Condition]},
    )


class AlarmsAsked(PageAsked):
    all: bool = Field(default=False, description="With those that are over.")
    kind: str | None = Field(None, description="One kind.", json_schema_extra={"enum": [*AlarmKind.values]})
    sensor: int | None = Field(None, description="Only of this sensor.")


class EventsAsked(PageAsked):
    sensor: int | None = Field(None, description="Only of this sensor.")


class ResultsAsked(Schema):
    page: str | None = Field(None, description="`next_page` of the answer before.")
    limit: int = Field(25, ge=1, le=50, description="1 to 50: an answer may hold 256 KiB.")


class RolloutsAsked(PageAsked):
    kind: Literal["command", "update"] | None = Field(None, description="One kind.")


class ReachAsked(Schema):
    sensor: int = Field(description="Number of the sensor.")


@router.get("/sensors", summary="Sensors with their states")
def list_sensors(request: HttpRequest, asked: Query[SensorsAsked]) -> HttpResponse:
    """By number. `states` holds everything that is true of a sensor, the worst first; `watching` when nothing is wrong."""
    viewer = _admit(request, asked)
    if asked.state is not None and asked.state not in [one.value for one in Condition]:
        raise _refuse("state", asked.state, f"one of {', '.join(one.value for one in Condition)}")
    after = read_number(asked.page)
    numbers = _list_numbers(viewer, asked, after=after)
    page, rest = numbers[: asked.limit], numbers[asked.limit :]
    known = selectors.sensor_states(
        viewer, now=middleware.clock.now(), config=settings.TEITEN_FLEET, sensors=page
    )
    told = [words.tell_sensor(row) for row in known if row.id is not None]
    return respond({"sensors": told, "next_page": str(page[-1]) if rest else None})


def _list_numbers(viewer: User, asked: SensorsAsked, *, after: int) -> list[int]:
    """Give the numbers of a page and one more, if there is one; only a state asks for judging the whole fleet."""
    sensors = selectors.sensors_visible_to(viewer).filter(pk__gt=after)
    for field, value in (
        ("dataset", asked.dataset),
        ("region", asked.region),
        ("organisation__code", asked.organisation),
    ):
        if value is not None:
            sensors = sensors.filter(**{field: value})
    if asked.state is None:
        return list(sensors.values_list("pk", flat=True)[: asked.limit + 1])
    briefs = selectors.sensor_briefs(
        viewer, now=middleware.clock.now(), config=settings.TEITEN_FLEET, dataset=asked.dataset
    )
    wanted = {row.id for row in briefs if row.id and any(one.value == asked.state for one in row.conditions)}
    return [number for number in sensors.values_list("pk", flat=True) if number in wanted][: asked.limit + 1]


@router.get("/sensors/{int:sensor}", summary="One sensor with its state")
def show_sensor(request: HttpRequest, sensor: int) -> HttpResponse:
    """As in the list."""
    viewer = _admit(request)
    known = selectors.sensor_states(
        viewer, now=middleware.clock.now(), config=settings.TEITEN_FLEET, sensors=[sensor]
    )
    row = next((row for row in known if row.id == sensor), None)
    if row is None:
        raise _unknown("sensor", sensor)
    return respond(words.tell_sensor(row))


@router.get("/alarms", summary="What is wrong")
def list_alarms(request: HttpRequest, asked: Query[AlarmsAsked]) -> HttpResponse:
    """Newest first; those that are open, unless `all`. What a group of sensors has in common stands once, for the group."""
    viewer = _admit(request, asked)
    alarms = alarms_visible_to(viewer, open_only=not asked.all)
    if asked.kind is not None:
        if asked.kind not in AlarmKind.values:
            raise _refuse("kind", asked.kind, f"one of {', '.join(AlarmKind.values)}")
        alarms = alarms.filter(kind=asked.kind)
    if asked.sensor is not None:
        alarms = alarms.filter(sensor=asked.sensor)
    return _respond("alarms", read_list(alarms, asked.page, asked.limit), words.tell_alarm)


@router.get("/events", summary="What happened to sensors")
def list_events(request: HttpRequest, asked: Query[EventsAsked]) -> HttpResponse:
    """Newest first: made, enrolled, suspended, keys, maintenance, and by whom."""
    viewer = _admit(request, asked)
    events = selectors.events_visible_to(viewer, sensor_id=asked.sensor)
    return _respond("events", read_list(events, asked.page, asked.limit), words.tell_event)


@router.get("/commands", summary="Commands of operators")
def list_commands(request: HttpRequest, asked: Query[PageAsked]) -> HttpResponse:
    """Newest first; to members those that reached their sensors."""
    viewer = _admit(request, asked)
    listed = read_list(commands.commands_visible_to(viewer).defer("envelope"), asked.page, asked.limit)
    counted = rollouts.count_states_of(viewer, [one.rollout_id for one in listed.rows if one.rollout_id])
    return _respond(
        "commands", listed, lambda one: words.tell_command(one, counted, sees_all=may_see_all(viewer))
    )


@router.get("/commands/{slug:command}/results", summary="What sensors answered")
def list_results(request: HttpRequest, command: str, asked: Query[ResultsAsked]) -> HttpResponse:
    """In the order in which answers came. `forgery` says why an answer is not the sensor's own; then it has no output."""
    viewer = _admit(request, asked)
    found = commands.commands_visible_to(viewer).filter(pk=command).first()
    if found is None:
        raise _unknown("command", command)
    listed = read_list(
        commands.results_visible_to(viewer, found), asked.page, asked.limit, newest_first=False
    )
    return _respond("results", listed, words.tell_result)


@router.get("/rollouts", summary="Commands and updates on their way")
def list_rollouts(request: HttpRequest, asked: Query[RolloutsAsked]) -> HttpResponse:
    """Newest first. `sensors` counts those that the caller sees, by state."""
    viewer = _admit(request, asked)
    listed = read_list(rollouts.rollouts_visible_to(viewer, kind=asked.kind), asked.page, asked.limit)
    counted = rollouts.count_states_of(viewer, [one.pk for one in listed.rows])
    return _respond("rollouts", listed, lambda one: words.tell_rollout(one, counted[one.pk]))


@router.get("/rollouts/{int:rollout}/sensors", summary="How far a roll-out is with each sensor")
def list_targets(request: HttpRequest, rollout: int, asked: Query[PageAsked]) -> HttpResponse:
    """In the order in which they get it."""
    viewer = _admit(request, asked)
    found = rollouts.rollouts_visible_to(viewer).filter(pk=rollout).first()
    if found is None:
        raise _unknown("rollout", rollout)
    targets = rollouts.targets_visible_to(viewer, found)
    listed = read_list(targets, asked.page, asked.limit, by="position", newest_first=False)
    return _respond("sensors", listed, words.tell_target)


@router.get("/reach", summary="Which ports of a sensor the world reaches")
def list_reach(request: HttpRequest, asked: Query[ReachAsked]) -> HttpResponse:
    """By address, protocol and port, as canaries tell."""
    viewer = _admit(request, asked)
    rows = reachability_visible_to(viewer, config=settings.TEITEN_FLEET, sensor_id=asked.sensor)
    return respond({"ports": [words.tell_reach(row) for row in rows]})


def _admit(request: HttpRequest, asked: Schema | None = None) -> User:
    viewer = admit_to_fleet(request)
    refuse_unknown(request, *(type(asked).model_fields if asked is not None else ()))
    return viewer


def _respond(name: str, listed: Listed, tell: Callable[[Any], dict[str, Any]]) -> HttpResponse:
    return respond({name: [tell(row) for row in listed.rows], "next_page": listed.next_page})


def _refuse(field: str, value: str, rule: str) -> QueryError:
    return QueryError(f"URL parameter {field}={value!r} must be {rule}", field=field, value=value, rule=rule)


def _unknown(what: str, value: object) -> NotFound:
    return NotFound(f"there is no {what} {value}", field=what)
