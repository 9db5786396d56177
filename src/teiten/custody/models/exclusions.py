"""Exclusions: a sensor's data of a period that no figure may rest on."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from teiten.accounts.models import User
from teiten.custody.models.work import WorkState
from teiten.fleet.models import Sensor


class Exclusion(models.Model):
    """One sensor's data of a period, set aside; ``lifted_at`` takes them back in.

    ``state`` tells how far the present wish is: to set aside, or, once
    ``lift_requested_at`` is set, to take back.
    """

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    sensor = models.ForeignKey(
        Sensor,
        on_delete=models.PROTECT,
        related_name="exclusions",
        verbose_name=_("sensor"),
        db_comment="センサー",
    )
    dataset = models.CharField(_("data set"), max_length=80, db_comment="データセット")
    start_at = models.DateTimeField(_("from"), db_comment="観測期間の始め(UTC、含む)")
    end_at = models.DateTimeField(_("to"), db_comment="観測期間の終わり(UTC、含まない)")
    reason = models.TextField(_("reason"), db_comment="除外の理由")
    created_by = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="exclusions",
        verbose_name=_("ordered by"),
        db_comment="除外した利用者。コマンドなら空",
    )
    created_at = models.DateTimeField(_("ordered at"), db_comment="依頼日時(UTC)")
    state = models.CharField(
        _("state"),
        max_length=16,
        choices=WorkState.choices,
        default=WorkState.REQUESTED,
        db_comment="状態(requested, running, done, failed)",
    )
    batches = models.BigIntegerField(_("batches"), default=0, db_comment="動かしたバッチ数の累計")
    error = models.TextField(_("error"), blank=True, db_comment="失敗の理由")
    started_at = models.DateTimeField(_("started at"), null=True, blank=True, db_comment="開始日時(UTC)")
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True, db_comment="完了日時(UTC)")
    applied_at = models.DateTimeField(
        _("last applied at"), null=True, blank=True, db_comment="遅着データへ最後に再適用した日時(UTC)"
    )
    lift_reason = models.TextField(_("reason of lifting"), blank=True, db_comment="解除の理由")
    lifted_by = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="lifted_exclusions",
        verbose_name=_("lifted by"),
        db_comment="解除した利用者。コマンドなら空",
    )
    lift_requested_at = models.DateTimeField(
        _("lifting asked for at"), null=True, blank=True, db_comment="解除の依頼日時(UTC)"
    )
    lifted_at = models.DateTimeField(_("lifted at"), null=True, blank=True, db_comment="解除完了日時(UTC)")

    class Meta:
        verbose_name = _("exclusion")
        verbose_name_plural = _("exclusions")
        db_table_comment = "センサーのデータの除外"
        constraints = (
            models.CheckConstraint(condition=Q(state__in=WorkState.values), name="exclusion_state_known"),
            models.CheckConstraint(condition=Q(end_at__gt=F("start_at")), name="exclusion_not_reversed"),
            models.CheckConstraint(condition=~Q(reason=""), name="exclusion_has_reason"),
            models.CheckConstraint(
                condition=Q(lifted_at=None) | Q(lift_requested_at__isnull=False),
                name="exclusion_lifted_when_asked",
            ),
        )

    def __str__(self) -> str:
        return f"exclusion {self.pk}"
