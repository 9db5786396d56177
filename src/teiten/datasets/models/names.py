"""Names that analysts give to fingerprints, payloads and probes."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from teiten.accounts.models import User


class FingerprintKind(models.TextChoices):
    """What is named; the words are those of the columns."""

    TCP_FP = "tcp_fp", _("TCP fingerprint")
    PAYLOAD_HASH = "payload_hash", _("Payload hash")
    PROBE = "probe", _("Probe label")


class FingerprintName(models.Model):
    """One name, for a time; withdrawn, never deleted."""

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    kind = models.CharField(
        _("kind"),
        max_length=16,
        choices=FingerprintKind.choices,
        db_comment="種類(tcp_fp, payload_hash, probe)",
    )
    value = models.CharField(_("value"), max_length=200, db_comment="指紋の値")
    name = models.CharField(_("name"), max_length=100, db_comment="名前")
    version = models.CharField(_("version"), max_length=40, blank=True, db_comment="名付けたものの版")
    valid_from = models.DateTimeField(_("valid from"), db_comment="有効期間の始め(UTC、含む)")
    valid_to = models.DateTimeField(
        _("valid to"), null=True, blank=True, db_comment="有効期間の終わり(UTC、含まない)。空なら期限なし"
    )
    note = models.TextField(_("note"), blank=True, db_comment="備考")
    author = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="fingerprint_names",
        verbose_name=_("author"),
        db_comment="名付けた利用者。コマンドなら空",
    )
    created_at = models.DateTimeField(_("created at"), db_comment="登録日時(UTC)")
    withdrawn_by = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="withdrawn_names",
        verbose_name=_("withdrawn by"),
        db_comment="取り下げた利用者。コマンドなら空",
    )
    withdrawn_at = models.DateTimeField(
        _("withdrawn at"), null=True, blank=True, db_comment="取り下げた日時(UTC)。空なら有効"
    )

    class Meta:
        verbose_name = _("fingerprint name")
        verbose_name_plural = _("fingerprint names")
        db_table_comment = "指紋の名前(取り下げるが削除しない)"
        indexes = (models.Index(fields=["kind", "value"], name="fingerprint_name_value"),)
        constraints = (
            models.CheckConstraint(
                condition=Q(kind__in=FingerprintKind.values), name="fingerprint_name_kind_known"
            ),
            models.CheckConstraint(
                condition=Q(valid_to=None) | Q(valid_to__gt=F("valid_from")),
                name="fingerprint_name_not_reversed",
            ),
            models.CheckConstraint(condition=~Q(name="") & ~Q(value=""), name="fingerprint_name_is_told"),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.value}: {self.name}"
