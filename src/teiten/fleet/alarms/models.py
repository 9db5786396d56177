"""Alarms: what is wrong now, since when, whom it concerns, and who has taken note."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from teiten.accounts.models import Organisation, User
from teiten.fleet.models import Sensor


class AlarmKind(models.TextChoices):
    """What is wrong."""

    SILENT = "silent", _("Sensor silent")
    MASS_SILENCE = "mass_silence", _("Many sensors silent")
    DROPPING = "dropping", _("Packets dropped")
    SKEWED = "skewed", _("Clock off")
    GAPPED = "gapped", _("Batches missing")
    CLONED = "cloned", _("Suspected to run twice")
    RING_FULL = "ring_full", _("Ring nearly full")
    DISK_LOW = "disk_low", _("Disk low")
    UPDATE_FAILED = "update_failed", _("Update failed")
    CHAIN_BROKEN = "chain_broken", _("Audit chain went back")
    TOKEN_REUSED = "token_reused", _("Enrolment token used again with another key")
    WITHDRAWN = "withdrawn", _("Withdrawn by its host")
    CANARY_LOST = "canary_lost", _("Canary lost")


class Alarm(models.Model):
    """One thing that is wrong, from when to when."""

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    kind = models.CharField(_("kind"), max_length=32, choices=AlarmKind.choices, db_comment="種別")
    sensor = models.ForeignKey(
        Sensor,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="alarms",
        verbose_name=_("sensor"),
        db_comment="センサー。群の警報なら空",
    )
    organisation = models.ForeignKey(
        Organisation,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("organisation"),
        db_comment="知らせる設置組織。運用者だけなら空",
    )
    group = models.CharField(
        _("group"), max_length=64, blank=True, db_comment="群(fleet, asn 64500, region kanto, org alpha)"
    )
    within = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="parts",
        verbose_name=_("part of"),
        db_comment="まとめた群の警報。運用者には群だけを見せる",
    )
    opened_at = models.DateTimeField(_("since"), db_comment="発生日時(UTC)")
    closed_at = models.DateTimeField(_("until"), null=True, blank=True, db_comment="終了日時(UTC)")
    acknowledged_at = models.DateTimeField(
        _("acknowledged at"), null=True, blank=True, db_comment="確認日時(UTC)"
    )
    acknowledged_by = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("acknowledged by"),
        db_comment="確認した利用者。コマンドなら空",
    )
    mailed_at = models.DateTimeField(
        _("mailed at"), null=True, blank=True, db_comment="発生をメールで知らせた日時(UTC)"
    )
    detail = models.JSONField(_("detail"), default=dict, db_comment="詳細")

    class Meta:
        verbose_name = _("alarm")
        verbose_name_plural = _("alarms")
        db_table_comment = "センサーの警報(種別とセンサーまたは群ごとに同時に一つまで)"
        indexes = (
            models.Index(fields=["-opened_at"], name="alarm_newest"),
            models.Index(fields=["kind", "sensor"], name="alarm_open", condition=Q(closed_at=None)),
            models.Index(fields=["within"], name="alarm_parts", condition=Q(within__isnull=False)),
        )
        constraints = (
            models.CheckConstraint(condition=Q(kind__in=AlarmKind.values), name="alarm_kind_known"),
            models.CheckConstraint(
                condition=Q(sensor=None, group__gt="") | Q(sensor__isnull=False, group=""),
                name="alarm_of_sensor_or_group",
            ),
            models.CheckConstraint(
                condition=Q(closed_at=None) | Q(closed_at__gte=F("opened_at")),
                name="alarm_ends_after_start",
            ),
            models.UniqueConstraint(
                fields=["kind", "sensor"], condition=Q(closed_at=None), name="alarm_open_once_a_sensor"
            ),
            models.UniqueConstraint(
                fields=["kind", "group"],
                condition=Q(closed_at=None, sensor=None),
                name="alarm_open_once_a_group",
            ),
        )

    def __str__(self) -> str:
        return f"{self.id} {self.kind} {self.sensor_id or self.group}"
