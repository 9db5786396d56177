"""Lists of survey scanners, with the time for which each entry held."""

from __future__ import annotations

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from teiten.accounts.models import CODE_PATTERN, User


class ListFormat(models.TextChoices):
    """Where the entries of a list come from."""

    CSV = "csv", _("CSV file")
    MISP = "misp", _("MISP warninglist")
    BEHAVIOUR = "behaviour", _("Behavioural rule")


class EntryKind(models.TextChoices):
    """How an entry is known; the words of :class:`traffic.survey.SurveyKind`."""

    LISTED = "listed", _("Listed")
    BEHAVIOUR = "behaviour", _("By behaviour")


class SurveyList(models.Model):
    """One list; importing it again replaces what holds, and keeps what held."""

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    name = models.CharField(
        _("name"),
        max_length=40,
        unique=True,
        validators=[RegexValidator(CODE_PATTERN)],
        db_comment="リスト名(英小文字・数字・ハイフン)",
    )
    format = models.CharField(
        _("format"), max_length=16, choices=ListFormat.choices, db_comment="形式(csv, misp, behaviour)"
    )
    title = models.CharField(_("title"), max_length=200, blank=True, db_comment="リストの題名")
    version = models.CharField(_("version"), max_length=40, blank=True, db_comment="リストが名乗る版")
    created_at = models.DateTimeField(_("created at"), db_comment="登録日時(UTC)")
    imported_at = models.DateTimeField(_("imported at"), db_comment="最後に取り込んだ日時(UTC)")
    removed_at = models.DateTimeField(
        _("removed at"), null=True, blank=True, db_comment="使用をやめた日時(UTC)。空なら使用中"
    )

    class Meta:
        verbose_name = _("survey list")
        verbose_name_plural = _("survey lists")
        db_table_comment = "調査スキャナのリスト"
        constraints = (
            models.CheckConstraint(condition=Q(name__regex=CODE_PATTERN), name="survey_list_name_form"),
            models.CheckConstraint(
                condition=Q(format__in=ListFormat.values), name="survey_list_format_known"
            ),
        )

    def __str__(self) -> str:
        return self.name


class SurveyEntry(models.Model):
    """One network of one owner, from when to when."""

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    list = models.ForeignKey(
        SurveyList,
        on_delete=models.PROTECT,
        related_name="entries",
        verbose_name=_("list"),
        db_comment="リスト",
    )
    network = models.CharField(_("network"), max_length=49, db_comment="アドレス・プレフィックス(CIDR)")
    owner = models.CharField(_("owner"), max_length=100, db_comment="調査の実施者")
    valid_from = models.DateTimeField(_("valid from"), db_comment="有効期間の始め(UTC、含む)")
    valid_to = models.DateTimeField(
        _("valid to"), null=True, blank=True, db_comment="有効期間の終わり(UTC、含まない)。空なら期限なし"
    )
    source = models.CharField(_("source"), max_length=300, blank=True, db_comment="出典")
    kind = models.CharField(
        _("kind"), max_length=16, choices=EntryKind.choices, db_comment="種類(listed, behaviour)"
    )
    reason = models.CharField(
        _("reason"), max_length=500, blank=True, db_comment="判定の理由(behaviourのとき)"
    )
    added_at = models.DateTimeField(_("added at"), db_comment="登録日時(UTC)")
    closed_at = models.DateTimeField(
        _("closed at"), null=True, blank=True, db_comment="リストから消えて閉じた日時(UTC)"
    )

    class Meta:
        verbose_name = _("survey entry")
        verbose_name_plural = _("survey entries")
        db_table_comment = "調査スキャナのリストの行(期間つき、履歴を残す)"
        indexes = (models.Index(fields=["network"], name="survey_entry_network"),)
        constraints = (
            models.UniqueConstraint(
                fields=["list", "network", "owner", "valid_from"], name="survey_entry_once"
            ),
            models.CheckConstraint(
                condition=Q(valid_to=None) | Q(valid_to__gt=F("valid_from")), name="survey_entry_not_reversed"
            ),
            models.CheckConstraint(condition=Q(kind__in=EntryKind.values), name="survey_entry_kind_known"),
        )

    def __str__(self) -> str:
        return f"{self.network} {self.owner}"


class SurveyImport(models.Model):
    """What one import, run of the behavioural rule or removal changed."""

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    list = models.ForeignKey(
        SurveyList,
        on_delete=models.PROTECT,
        related_name="imports",
        verbose_name=_("list"),
        db_comment="リスト",
    )
    at = models.DateTimeField(_("at"), db_comment="日時(UTC)")
    actor = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="survey_imports",
        verbose_name=_("actor"),
        db_comment="行った利用者。コマンド・自動なら空",
    )
    source = models.CharField(_("source"), max_length=300, blank=True, db_comment="ファイル名など")
    sha256 = models.CharField(_("SHA-256"), max_length=64, blank=True, db_comment="ファイルのSHA-256")
    added = models.PositiveIntegerField(_("added"), default=0, db_comment="加えた行数")
    changed = models.PositiveIntegerField(_("changed"), default=0, db_comment="変えた行数")
    closed = models.PositiveIntegerField(_("closed"), default=0, db_comment="閉じた行数")
    kept = models.PositiveIntegerField(_("kept"), default=0, db_comment="そのままの行数")

    class Meta:
        verbose_name = _("survey import")
        verbose_name_plural = _("survey imports")
        db_table_comment = "調査スキャナのリストの取り込み記録(追記のみ)"

    def __str__(self) -> str:
        return f"{self.pk} {self.list_id}"
