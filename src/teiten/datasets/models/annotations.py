"""Annotations: what happened in the world, or here, that explains a trend."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from teiten.accounts.models import User


class AnnotationKind(models.TextChoices):
    """What an annotation is about."""

    CVE = "cve", _("CVE published")
    CAMPAIGN = "campaign", _("Campaign noticed")
    SENSORS = "sensors", _("Sensors added")
    RULE = "rule", _("Rule changed")
    OTHER = "other", _("Other")


class Annotation(models.Model):
    """A note at a time, drawn on every trend; withdrawn, never deleted."""

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    at = models.DateTimeField(_("at"), db_index=True, db_comment="日時(UTC)")
    until_at = models.DateTimeField(
        _("until"), null=True, blank=True, db_comment="終わりの日時(UTC)。空なら一時点"
    )
    dataset = models.CharField(
        _("data set"), max_length=80, blank=True, db_comment="データセット。空なら全データセット"
    )
    kind = models.CharField(
        _("kind"),
        max_length=16,
        choices=AnnotationKind.choices,
        db_comment="種類(cve, campaign, sensors, rule, other)",
    )
    text_ja = models.CharField(_("text in Japanese"), max_length=300, db_comment="本文(日本語)")
    text_en = models.CharField(_("text in English"), max_length=300, db_comment="本文(英語)")
    link = models.URLField(_("link"), max_length=500, blank=True, db_comment="参照先")
    author = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="annotations",
        verbose_name=_("author"),
        db_comment="書いた利用者。自動・コマンドなら空",
    )
    created_at = models.DateTimeField(_("created at"), db_comment="登録日時(UTC)")
    #: What an automatic annotation is about, so that it is written once.
    occasion = models.CharField(
        _("occasion"),
        max_length=100,
        null=True,
        blank=True,
        unique=True,
        db_comment="自動注釈の契機(二重に書かないため)。手書きなら空",
    )
    withdrawn_by = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="withdrawn_annotations",
        verbose_name=_("withdrawn by"),
        db_comment="取り下げた利用者。コマンドなら空",
    )
    withdrawn_at = models.DateTimeField(
        _("withdrawn at"), null=True, blank=True, db_comment="取り下げた日時(UTC)。空なら有効"
    )

    class Meta:
        verbose_name = _("annotation")
        verbose_name_plural = _("annotations")
        db_table_comment = "注釈(取り下げるが削除しない)"
        constraints = (
            models.CheckConstraint(condition=Q(kind__in=AnnotationKind.values), name="annotation_kind_known"),
            models.CheckConstraint(
                condition=Q(until_at=None) | Q(until_at__gt=F("at")), name="annotation_not_reversed"
            ),
            models.CheckConstraint(condition=~Q(text_ja="") & ~Q(text_en=""), name="annotation_is_told"),
        )

    def __str__(self) -> str:
        return f"{self.pk} {self.kind}"
