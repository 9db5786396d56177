"""Mails about alarms: operators get all, hosts' contacts those of their own sensors, each in one mail a run.

An alarm counts as told once every mail about it was taken by the mail server. When
one was not, all are sent again at the next run: rather twice than never. But an address
of a host that the mail server refuses for good keeps nothing waiting: whoever enters a
wrong one would have all others mailed every minute.
"""

from __future__ import annotations

import contextlib
import logging
import smtplib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from django.core.mail import EmailMessage, get_connection
from django.db.models import Q
from django.utils import translation
from django.utils.translation import gettext as _

from teiten.accounts.models import Language, Role
from teiten.fleet.alarms import metrics
from teiten.fleet.alarms.grouping import FLEET
from teiten.fleet.alarms.models import Alarm
from teiten.fleet.config import FleetConfig
from teiten.fleet.models import HostContact

_log = logging.getLogger(__name__)
_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
#: Alarms that nobody could be told of for so long are told by the list alone.
_PATIENCE = timedelta(days=1)
#: Alarms that one mail names; the rest is a count.
_NAMED = 50
_TIMEOUT_SECONDS = 10
#: Replies from this number on say never (RFC 5321, section 4.2.1).
_FOR_GOOD = 500
Fate: TypeAlias = Literal["sent", "refused", "failed"]


@dataclass(frozen=True)
class Letter:
    """One mail."""

    to: tuple[str, ...]
    language: str
    alarms: tuple[Alarm, ...]
    #: Somebody must be told; of a host's contacts each is one of several who are.
    is_for_operators: bool = False


def send_mails(*, now: datetime, config: FleetConfig) -> dict[str, int]:
    """Tell of alarms that nobody was told of; gives how many mails were sent and how many were not."""
    if not (config.alarm_mail_from and config.smtp_host):
        return {}
    untold = list(
        Alarm.objects.filter(
            # That a host has taken note is no reason why operators should not hear of it.
            Q(acknowledged_at=None) | Q(acknowledged_by__role__in=[Role.MEMBER, Role.ANALYST]),
            mailed_at=None,
            closed_at=None,
            opened_at__gte=now - _PATIENCE,
        )
        # Half of all silent: it is the base, and nothing that a host could do something about.
        .exclude(within__group=FLEET)
        .select_related("sensor", "organisation")
        .order_by("pk")
    )
    letters = list_letters(untold, config.alarm_mail_to)
    fates = Counter(_send(letter, config) for letter in letters)
    if untold and not fates["failed"]:
        Alarm.objects.filter(pk__in=[alarm.pk for alarm in untold]).update(mailed_at=now)
    return {"mails": fates["sent"], "mails_failed": fates["failed"] + fates["refused"]}


def list_letters(alarms: Sequence[Alarm], operators: Sequence[str]) -> list[Letter]:
    """Say who is told what; parts of a group are told to hosts alone."""
    letters = []
    groups = tuple(alarm for alarm in alarms if alarm.within_id is None)
    if operators and groups:
        letters.append(Letter(tuple(operators), Language.JAPANESE.value, groups, is_for_operators=True))
    houses = {alarm.organisation_id for alarm in alarms if alarm.sensor_id is not None}
    contacts = HostContact.objects.filter(organisation__in=[house for house in houses if house]).order_by(
        "pk"
    )
    for contact in contacts:
        own = tuple(
            alarm for alarm in alarms if alarm.organisation_id == contact.organisation_id and alarm.sensor_id
        )
        letters.append(Letter((contact.mail,), contact.language, own))
    return letters


def write_letter(letter: Letter) -> tuple[str, str]:
    """Give subject and text of a mail, in its language."""
    with translation.override(letter.language):
        subject = _("Teiten: %(count)s alarms") % {"count": len(letter.alarms)}
        lines = [_describe(alarm) for alarm in letter.alarms[:_NAMED]]
        if len(letter.alarms) > _NAMED:
            lines.append(_("and %(count)s more") % {"count": len(letter.alarms) - _NAMED})
        lines += ["", _("The portal shows what is open. Planned maintenance raises no alarm.")]
    return subject, "\n".join(lines) + "\n"


def _describe(alarm: Alarm) -> str:
    what = alarm.get_kind_display()
    if alarm.sensor is not None:
        return f"{alarm.opened_at:%Y-%m-%d %H:%M} UTC  {alarm.sensor.name}  {what}"
    count = _("%(count)s of %(expected)s sensors") % {
        "count": alarm.detail.get("sensors", 0),
        "expected": alarm.detail.get("expected", 0),
    }
    return f"{alarm.opened_at:%Y-%m-%d %H:%M} UTC  {alarm.group}  {what}: {count}"


def _send(letter: Letter, config: FleetConfig) -> Fate:
    subject, text = write_letter(letter)
    server = get_connection(
        _BACKEND,
        host=config.smtp_host,
        port=config.smtp_port,
        username=config.smtp_user,
        password=config.smtp_password,
        use_tls=config.smtp_starttls,
        use_ssl=config.smtp_tls,
        timeout=_TIMEOUT_SECONDS,
    )
    # Recipients do not learn of one another.
    mail = EmailMessage(subject, text, config.alarm_mail_from, bcc=_list_plain(letter.to), connection=server)
    try:
        mail.send()
    except (OSError, smtplib.SMTPException) as error:
        fate: Fate = "refused" if not letter.is_for_operators and _is_final(error) else "failed"
        metrics.MAILS.labels(fate).inc()
        _log.error("A mail about alarms could not be sent.", extra={"reason": str(error), "fate": fate})
        return fate
    finally:
        # A sign-in that fails leaves it open.
        with contextlib.suppress(OSError, smtplib.SMTPException):
            server.close()
    metrics.MAILS.labels("sent").inc()
    return "sent"


def _is_final(error: Exception) -> bool:
    """Tell whether the mail server will never take mail for these addresses."""
    refused = error.recipients if isinstance(error, smtplib.SMTPRecipientsRefused) else {}
    return bool(refused) and all(code >= _FOR_GOOD for code, _text in refused.values())


def _list_plain(addresses: Iterable[str]) -> list[str]:
    return [address.strip() for address in addresses if address.strip()]
