"""What was handed out, to whom, by which question; appended, never changed.

A page or an answer of the API is one row. A file is one row before its first byte and
an end after its last, so that a file that broke off, or a machine that died under it,
leaves its trace too.
"""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from teiten.accounts.models import Organisation, User
from teiten.custody.models.payload import PayloadReason


class Channel(models.TextChoices):
    """By which way data left."""

    PAGE = "page", _("Screen")
    API = "api", _("API")
    EXPORT = "export", _("Export")
    FILE = "file", _("File")
    MAIL = "mail", _("Mail")
    LIVE = "live", _("Live")


class Level(models.TextChoices):
    """How much of the sensors it showed."""

    REAL = "real", _("Real")
    PSEUDONYM = "pseudonym", _("Pseudonym")
    AGGREGATE = "aggregate", _("Aggregate")


class Tlp(models.TextChoices):
    """Traffic Light Protocol 2.0 (FIRST, 2022)."""

    RED = "RED", "TLP:RED"
    AMBER_STRICT = "AMBER+STRICT", "TLP:AMBER+STRICT"
    AMBER = "AMBER", "TLP:AMBER"
    GREEN = "GREEN", "TLP:GREEN"
    CLEAR = "CLEAR", "TLP:CLEAR"


class Disclosure(models.Model):
    """Data that one person was given."""

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    at = models.DateTimeField(_("at"), db_index=True, db_comment="提供日時(UTC)")
    user = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        related_name="disclosures",
        verbose_name=_("recipient"),
        db_comment="受領した利用者",
    )
    organisation = models.ForeignKey(
        Organisation,
        on_delete=models.PROTECT,
        related_name="disclosures",
        verbose_name=_("organisation"),
        db_comment="受領時の所属組織",
    )
    channel = models.CharField(
        _("channel"),
        max_length=8,
        choices=Channel.choices,
        db_comment="経路(page, api, export, file, mail, live)",
    )
    call = models.CharField(_("call"), max_length=32, db_comment="検索の種類(rows, packet, source など)")
    query = models.TextField(_("query"), db_comment="実際に答えた問い(URL形式、期間は確定済み)")
    dataset = models.CharField(_("data set"), max_length=80, db_comment="データセット")
    start_at = models.DateTimeField(_("start"), db_comment="データの期間の開始(UTC)")
    end_at = models.DateTimeField(_("end"), db_comment="データの期間の終了(UTC)")
    level = models.CharField(_("level"), max_length=16, choices=Level.choices, db_comment="開示レベル")
    tlp = models.CharField(_("TLP"), max_length=16, choices=Tlp.choices, db_comment="TLP 2.0の区分")
    rows = models.PositiveBigIntegerField(
        _("rows"), null=True, db_comment="行数。ファイルでは見込み(実数は終了の記録)"
    )
    sha256 = models.CharField(
        _("SHA-256"),
        max_length=64,
        blank=True,
        db_comment="渡したバイト列のSHA-256。ファイルでは終了の記録に置く",
    )
    source = models.CharField(
        _("source"), max_length=49, blank=True, db_comment="送信元の頁ならそのアドレスまたはプレフィックス"
    )
    sensors = ArrayField(
        models.BigIntegerField(),
        default=list,
        verbose_name=_("sensors"),
        db_comment="一つのセンサーに限った内容ならその番号",
    )
    payload_reason = models.ForeignKey(
        PayloadReason,
        on_delete=models.PROTECT,
        null=True,
        related_name="disclosures",
        verbose_name=_("reason to see payload"),
        db_comment="ペイロードを含むならその閲覧理由",
    )
    is_file = models.BooleanField(
        _("file"), default=False, db_comment="真なら終了の記録が別にある。無ければ途中で途絶えた"
    )

    class Meta:
        verbose_name = _("disclosure")
        verbose_name_plural = _("disclosures")
        db_table_comment = "開示の記録(追記のみ)"
        indexes = (
            models.Index(fields=["dataset", "start_at", "end_at"], name="disclosure_period"),
            models.Index(fields=["organisation", "-at"], name="disclosure_recipient"),
        )
        constraints = (
            models.CheckConstraint(condition=Q(start_at__lt=F("end_at")), name="disclosure_period_forward"),
            models.CheckConstraint(condition=Q(channel__in=Channel.values), name="disclosure_channel_known"),
            models.CheckConstraint(condition=Q(level__in=Level.values), name="disclosure_level_known"),
            models.CheckConstraint(condition=Q(tlp__in=Tlp.values), name="disclosure_tlp_known"),
        )

    def __str__(self) -> str:
        return f"{self.pk} {self.channel} {self.user_id}"


class DisclosureEnd(models.Model):
    """How a file ended; without this row it broke off with the process."""

    disclosure = models.OneToOneField(
        Disclosure,
        on_delete=models.PROTECT,
        primary_key=True,
        related_name="end",
        verbose_name=_("disclosure"),
        db_comment="開示の記録",
    )
    at = models.DateTimeField(_("at"), db_comment="終了日時(UTC)")
    is_whole = models.BooleanField(_("whole"), db_comment="最後まで渡したなら真。受け手が途中で切ったなら偽")
    byte_count = models.PositiveBigIntegerField(_("bytes"), db_comment="渡したバイト数")
    sha256 = models.CharField(_("SHA-256"), max_length=64, db_comment="渡したバイト列のSHA-256")

    class Meta:
        verbose_name = _("end of a disclosure")
        verbose_name_plural = _("ends of disclosures")
        db_table_comment = "ファイルの開示の終了(追記のみ)"

    def __str__(self) -> str:
        return f"{self.pk} {'whole' if self.is_whole else 'broken off'}"
