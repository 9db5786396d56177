"""Erasures: what was asked to be forgotten, and how far that is."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from teiten.accounts.models import Organisation, User
from teiten.custody.models.work import WorkState


class ErasureKind(models.TextChoices):
    """What an erasure is about."""

    ADDRESS = "address", _("Address")
    ORGANISATION = "organisation", _("Organisation")


class Erasure(models.Model):
    """One order to erase; the row stays as the record that it was done."""

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    kind = models.CharField(
        _("kind"), max_length=16, choices=ErasureKind.choices, db_comment="種類(address, organisation)"
    )
    network = models.CharField(
        _("network"),
        max_length=49,
        blank=True,
        db_comment="消去するアドレス・プレフィックス(CIDR)。遅着データへの再適用が終わると空にする",
    )
    organisation = models.ForeignKey(
        Organisation,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="erasures",
        verbose_name=_("organisation"),
        db_comment="脱退した組織",
    )
    sensors = ArrayField(
        models.IntegerField(),
        verbose_name=_("sensors"),
        default=list,
        blank=True,
        db_comment="データを消去するセンサー番号(依頼時に確定)",
    )
    dataset = models.CharField(
        _("data set"), max_length=80, blank=True, db_comment="データセット。空なら全データセット"
    )
    start_at = models.DateTimeField(
        _("from"), null=True, blank=True, db_comment="観測期間の始め(UTC、含む)。空なら最初から"
    )
    end_at = models.DateTimeField(_("to"), db_comment="観測期間の終わり(UTC、含まない)")
    keeps_data = models.BooleanField(
        _("keeps data"), default=False, db_comment="観測データを残すなら真(組織脱退の選択肢)"
    )
    reason = models.TextField(_("reason"), db_comment="消去の理由")
    requested_by = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="erasures",
        verbose_name=_("requested by"),
        db_comment="依頼した利用者。コマンドなら空",
    )
    requested_at = models.DateTimeField(_("requested at"), db_comment="依頼日時(UTC)")
    state = models.CharField(
        _("state"),
        max_length=16,
        choices=WorkState.choices,
        default=WorkState.REQUESTED,
        db_comment="状態(requested, running, done, failed)",
    )
    progress = models.JSONField(_("progress"), default=dict, db_comment="終わった段階とその件数")
    error = models.TextField(_("error"), blank=True, db_comment="失敗の理由")
    started_at = models.DateTimeField(_("started at"), null=True, blank=True, db_comment="開始日時(UTC)")
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True, db_comment="完了日時(UTC)")
    applied_at = models.DateTimeField(
        _("last applied at"), null=True, blank=True, db_comment="遅着データへ最後に再適用した日時(UTC)"
    )

    class Meta:
        verbose_name = _("erasure")
        verbose_name_plural = _("erasures")
        db_table_comment = "消去の依頼と記録"
        constraints = (
            models.CheckConstraint(condition=Q(kind__in=ErasureKind.values), name="erasure_kind_known"),
            models.CheckConstraint(condition=Q(state__in=WorkState.values), name="erasure_state_known"),
            models.CheckConstraint(
                condition=Q(start_at=None) | Q(end_at__gt=F("start_at")), name="erasure_not_reversed"
            ),
            models.CheckConstraint(
                condition=(Q(kind="address", organisation=None) & (~Q(network="") | Q(state=WorkState.DONE)))
                | Q(kind="organisation", organisation__isnull=False, network=""),
                name="erasure_fits_its_kind",
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="erasure_has_reason"),
        )

    def __str__(self) -> str:
        return f"erasure {self.pk}"
