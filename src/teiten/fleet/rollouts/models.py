"""Roll-outs: what is brought to many sensors, a few first, then all."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from teiten.accounts.models import User
from teiten.fleet.models import Sensor


class RolloutKind(models.TextChoices):
    """What is rolled out."""

    COMMAND = "command", _("Command")
    UPDATE = "update", _("Update")


class RolloutState(models.TextChoices):
    """How a roll-out stands."""

    RUNNING = "running", _("Running")
    PAUSED = "paused", _("Paused")
    HALTED = "halted", _("Halted")
    DONE = "done", _("Done")
    STOPPED = "stopped", _("Stopped")


class TargetState(models.TextChoices):
    """How far it is with one sensor."""

    WAITING = "waiting", _("Waiting for its stage")
    RELEASED = "released", _("Queued")
    FETCHED = "fetched", _("Fetched")
    OK = "ok", _("Done")
    FAILED = "failed", _("Failed")
    REFUSED = "refused", _("Refused")
    EXPIRED = "expired", _("Expired")
    CANCELLED = "cancelled", _("Cancelled")


#: States of a roll-out that is not over.
UNDER_WAY = (RolloutState.RUNNING, RolloutState.PAUSED, RolloutState.HALTED)
#: States of a target that is with its sensor.
OPEN = (TargetState.RELEASED, TargetState.FETCHED)


class Rollout(models.Model):
    """One thing on its way to a list of sensors."""

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    kind = models.CharField(
        _("kind"), max_length=16, choices=RolloutKind.choices, db_comment="種類(command, update)"
    )
    subject = models.CharField(_("subject"), max_length=64, db_comment="対象物(コマンドID、リリース番号)")
    stages = ArrayField(
        models.PositiveSmallIntegerField(),
        verbose_name=_("stages"),
        db_comment="段階ごとの割合(百分率、最後は100)",
    )
    stage = models.PositiveSmallIntegerField(_("stage"), default=0, db_comment="現在の段階(0から)")
    per_minute = models.PositiveIntegerField(_("rate"), db_comment="1分間に解放する最大センサー数")
    soak_seconds = models.PositiveIntegerField(
        _("pause between stages"), default=0, db_comment="次の段階まで待つ秒数"
    )
    total = models.PositiveIntegerField(_("sensors"), db_comment="対象センサー数")
    state = models.CharField(
        _("state"),
        max_length=16,
        choices=RolloutState.choices,
        default=RolloutState.RUNNING,
        db_comment="状態(running, paused, halted, done, stopped)",
    )
    reason = models.CharField(_("reason"), max_length=200, blank=True, db_comment="その状態になった理由")
    forgiven_failures = models.PositiveIntegerField(
        _("failures accepted"), default=0, db_comment="再開時に容認した失敗数(判定から除く)"
    )
    forgiven_silent = models.PositiveIntegerField(
        _("silent sensors accepted"), default=0, db_comment="再開時に容認した沈黙数(判定から除く)"
    )
    not_before = models.DateTimeField(
        _("not before"), null=True, blank=True, db_comment="これより前は解放しない日時(UTC)。空なら制限なし"
    )
    not_after = models.DateTimeField(
        _("not after"), null=True, blank=True, db_comment="これ以後は渡さない日時(UTC)。空なら期限なし"
    )
    started_at = models.DateTimeField(_("started at"), db_comment="開始日時(UTC)")
    started_by = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("started by"),
        db_comment="開始した利用者。コマンドなら空",
    )
    changed_at = models.DateTimeField(_("changed at"), db_comment="状態か段階が最後に変わった日時(UTC)")

    class Meta:
        verbose_name = _("roll-out")
        verbose_name_plural = _("roll-outs")
        db_table_comment = "段階配布(コマンド・更新)"
        constraints = (
            models.UniqueConstraint(
                fields=["kind", "subject"],
                name="rollout_once_under_way",
                condition=Q(state__in=["running", "paused", "halted"]),
            ),
            models.CheckConstraint(condition=Q(kind__in=RolloutKind.values), name="rollout_kind_known"),
            models.CheckConstraint(condition=Q(state__in=RolloutState.values), name="rollout_state_known"),
        )

    def __str__(self) -> str:
        return f"{self.id} {self.kind} {self.subject}"


class RolloutTarget(models.Model):
    """One sensor of a roll-out."""

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    rollout = models.ForeignKey(
        Rollout,
        on_delete=models.PROTECT,
        related_name="targets",
        db_index=False,
        verbose_name=_("roll-out"),
        db_comment="段階配布",
    )
    sensor = models.ForeignKey(
        Sensor,
        on_delete=models.PROTECT,
        related_name="rollout_targets",
        verbose_name=_("sensor"),
        db_comment="センサー",
    )
    kind = models.CharField(
        _("kind"), max_length=16, choices=RolloutKind.choices, db_comment="種類(段階配布の写し)"
    )
    release = models.PositiveIntegerField(
        _("release"), null=True, blank=True, db_comment="更新ならリリース番号(段階配布の写し)"
    )
    position = models.PositiveIntegerField(_("position"), db_comment="解放の順番(0から)")
    state = models.CharField(
        _("state"),
        max_length=16,
        choices=TargetState.choices,
        default=TargetState.WAITING,
        db_comment="状態(waiting, released, fetched, ok, failed, refused, expired, cancelled)",
    )
    was_silent = models.BooleanField(
        _("was silent"), default=False, db_comment="解放時に沈黙していたら真(判定の基準から除く)"
    )
    released_at = models.DateTimeField(_("released at"), null=True, blank=True, db_comment="解放日時(UTC)")
    fetched_at = models.DateTimeField(_("fetched at"), null=True, blank=True, db_comment="取得日時(UTC)")
    ended_at = models.DateTimeField(_("ended at"), null=True, blank=True, db_comment="終了日時(UTC)")
    detail = models.CharField(_("detail"), max_length=200, blank=True, db_comment="結果の説明")

    class Meta:
        verbose_name = _("target")
        verbose_name_plural = _("targets")
        db_table_comment = "段階配布の対象センサー"
        indexes = (
            # What heartbeats and fetches ask, 170 times a second: open targets are few.
            models.Index(
                fields=["sensor"],
                include=("kind", "release", "rollout"),
                name="target_open",
                condition=Q(state__in=["released", "fetched"]),
            ),
        )
        constraints = (
            models.UniqueConstraint(fields=["rollout", "position"], name="target_position_once"),
            models.UniqueConstraint(fields=["rollout", "sensor"], name="target_sensor_once"),
            models.CheckConstraint(condition=Q(state__in=TargetState.values), name="target_state_known"),
            models.CheckConstraint(
                condition=Q(state__in=["waiting", "cancelled", "expired"]) | Q(released_at__isnull=False),
                name="target_released_at_known",
            ),
        )

    def __str__(self) -> str:
        return f"{self.rollout_id} {self.sensor_id} {self.state}"
