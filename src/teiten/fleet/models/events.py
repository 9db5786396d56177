"""The history of sensors."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from teiten.accounts.models import User
from teiten.fleet.models.sensors import Sensor


class SensorEventKind(models.TextChoices):
    """What the history of a sensor records."""

    CREATED = "created", _("Created")
    TOKEN_ISSUED = "token_issued", _("Enrolment token issued")
    ENROLLED = "enrolled", _("Enrolled")
    ENROLMENT_REFUSED = "enrolment_refused", _("Enrolment refused")
    TOKEN_REUSED = "token_reused", _("Enrolment token used again with another key")
    APPROVED = "approved", _("Approved")
    SUSPENDED = "suspended", _("Suspended")
    RESUMED = "resumed", _("Resumed")
    REVOKED = "revoked", _("Revoked")
    WITHDRAWN = "withdrawn", _("Withdrawn by its host")
    KEY_ROTATED = "key_rotated", _("Key replaced")
    RECOVERY_ISSUED = "recovery_issued", _("Recovery token issued")
    RECOVERED = "recovered", _("Recovered with a new key")
    HELD_RELEASED = "held_released", _("Held batches released")
    HELD_DISCARDED = "held_discarded", _("Held batches discarded")
    CHAIN_BROKEN = "chain_broken", _("Audit chain went back")
    CONFIGURED = "configured", _("Configured")
    RESTARTED = "restarted", _("Restarted")
    SILENT = "silent", _("Fell silent")
    HEARD_AGAIN = "heard_again", _("Heard again")
    CLONE_SUSPECTED = "clone_suspected", _("Suspected to run twice")
    HEARTBEAT_REFUSED = "heartbeat_refused", _("Heartbeat refused")
    PLACED = "placed", _("Placed")
    ADDRESSED = "addressed", _("Observed address changed")
    MAINTENANCE = "maintenance", _("Maintenance planned")


class SensorEvent(models.Model):
    """One thing that happened to a sensor."""

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    at = models.DateTimeField(_("at"), db_index=True, db_comment="日時(UTC)")
    sensor = models.ForeignKey(
        Sensor,
        on_delete=models.PROTECT,
        related_name="events",
        verbose_name=_("sensor"),
        db_comment="センサー",
    )
    kind = models.CharField(_("kind"), max_length=32, choices=SensorEventKind.choices, db_comment="種別")
    actor = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        verbose_name=_("actor"),
        db_comment="行った利用者。自動なら空",
    )
    detail = models.JSONField(_("detail"), default=dict, db_comment="詳細")

    class Meta:
        verbose_name = _("sensor event")
        verbose_name_plural = _("sensor events")
        db_table_comment = "センサーの出来事"
        indexes = (models.Index(fields=["sensor", "-id"], name="sensor_event_newest"),)
        constraints = (
            models.CheckConstraint(
                condition=Q(kind__in=SensorEventKind.values), name="sensor_event_kind_known"
            ),
        )

    def __str__(self) -> str:
        return f"{self.id} {self.kind}"
