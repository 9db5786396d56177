"""Legal holds: data that nothing may remove until somebody releases them."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from teiten.accounts.models import User
from teiten.fleet.models import Sensor


class HoldScope(models.TextChoices):
    """What a hold is about."""

    DATASET = "dataset", _("Data set")
    SENSOR = "sensor", _("Sensor")
    ADDRESS = "address", _("Address")


class LegalHold(models.Model):
    """Observations of a period that must stay as they are; ``released_at`` ends it."""

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    scope = models.CharField(
        _("scope"),
        max_length=16,
        choices=HoldScope.choices,
        db_comment="対象の種類(dataset, sensor, address)",
    )
    dataset = models.CharField(
        _("data set"), max_length=80, blank=True, db_comment="データセット。空なら全データセット"
    )
    sensor = models.ForeignKey(
        Sensor,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="legal_holds",
        verbose_name=_("sensor"),
        db_comment="センサー(scope=sensorのとき)",
    )
    network = models.CharField(
        _("network"),
        max_length=49,
        blank=True,
        db_comment="アドレス・プレフィックス(scope=addressのとき、CIDR)",
    )
    start_at = models.DateTimeField(_("from"), db_comment="観測期間の始め(UTC、含む)")
    end_at = models.DateTimeField(
        _("to"), null=True, blank=True, db_comment="観測期間の終わり(UTC、含まない)。空なら期限なし"
    )
    reason = models.TextField(_("reason"), db_comment="保全の理由")
    created_by = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="legal_holds",
        verbose_name=_("ordered by"),
        db_comment="保全を命じた利用者。コマンドなら空",
    )
    created_at = models.DateTimeField(_("ordered at"), db_comment="保全開始日時(UTC)")
    released_by = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="released_holds",
        verbose_name=_("released by"),
        db_comment="解除した利用者。コマンドなら空",
    )
    released_at = models.DateTimeField(
        _("released at"), null=True, blank=True, db_comment="解除日時(UTC)。空なら有効"
    )
    release_reason = models.TextField(_("reason of the release"), blank=True, db_comment="解除の理由")

    class Meta:
        verbose_name = _("legal hold")
        verbose_name_plural = _("legal holds")
        db_table_comment = "法的保全(削除してはならない観測データ)"
        constraints = (
            models.CheckConstraint(condition=Q(scope__in=HoldScope.values), name="legal_hold_scope_known"),
            models.CheckConstraint(
                condition=Q(end_at=None) | Q(end_at__gt=F("start_at")), name="legal_hold_not_reversed"
            ),
            models.CheckConstraint(
                condition=(Q(scope="dataset", sensor=None, network="") & ~Q(dataset=""))
                | Q(scope="sensor", sensor__isnull=False, network="")
                | (Q(scope="address", sensor=None) & ~Q(network="")),
                name="legal_hold_fits_its_scope",
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="legal_hold_has_reason"),
        )

    def __str__(self) -> str:
        return f"hold {self.pk}"
