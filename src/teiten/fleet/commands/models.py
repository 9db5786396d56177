"""Commands as operators signed them, what sensors answered, and who the operators are said to be.

Nothing here gives anybody power over a sensor: it believes signatures of operators'
keys alone, and those never come here.
"""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from teiten.accounts.models import User
from teiten.fleet.models import Sensor
from teiten.fleet.rollouts.models import Rollout


class CommandState(models.TextChoices):
    """How far a command is before sensors are given it; from there on its roll-out tells."""

    DRAFT = "draft", _("Draft")
    SIGNED = "signed", _("Signed, not by enough")
    APPROVED = "approved", _("Approved")
    STARTED = "started", _("Started")
    WITHDRAWN = "withdrawn", _("Withdrawn")


class ResultState(models.TextChoices):
    """What a sensor says became of a command."""

    DONE = "done", _("Done")
    FAILED = "failed", _("Failed")
    REFUSED = "refused", _("Refused")


class OperatorListCopy(models.Model):
    """A copy of ``operators.json``: what the base goes by when it checks; no sensor goes by it."""

    version = models.PositiveIntegerField(_("version"), primary_key=True, db_comment="版")
    content = models.BinaryField(_("content"), db_comment="operators.jsonの内容(そのまま)")
    sha256 = models.BinaryField(_("hash"), max_length=32, db_comment="内容のSHA-256")
    imported_at = models.DateTimeField(_("imported at"), db_comment="取り込み日時(UTC)")
    imported_by = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        verbose_name=_("imported by"),
        db_comment="取り込んだ利用者。コマンドなら空",
    )

    class Meta:
        verbose_name = _("list of operators")
        verbose_name_plural = _("lists of operators")
        db_table_comment = "操作者一覧の写し(表示と事前確認用。センサーへの権限にはならない)"

    def __str__(self) -> str:
        return f"operators {self.version}"


class Command(models.Model):
    """One command of operators."""

    id = models.CharField(_("id"), primary_key=True, max_length=26, db_comment="コマンドID")
    command_class = models.CharField(_("class"), max_length=1, db_comment="区分(A, B, C, D)")
    verb = models.CharField(_("verb"), max_length=40, db_comment="動詞")
    arguments = models.JSONField(_("arguments"), default=dict, db_comment="引数")
    reason = models.CharField(_("reason"), max_length=200, db_comment="理由")
    created_by = models.CharField(_("written by"), max_length=40, db_comment="作成者の操作者鍵ID")
    signers = ArrayField(
        models.CharField(max_length=64),
        verbose_name=_("signed by"),
        default=list,
        db_comment="有効に署名した人",
    )
    selector = models.CharField(
        _("selector"), max_length=1000, blank=True, db_comment="対象の選択式。番号指定なら空"
    )
    sensors = ArrayField(
        models.BigIntegerField(), verbose_name=_("sensors"), db_comment="対象センサー番号(昇順)"
    )
    counter = models.BigIntegerField(_("counter"), db_comment="作成者の鍵の通番")
    not_before_at = models.DateTimeField(_("not before"), db_comment="有効開始日時(UTC)")
    expires_at = models.DateTimeField(_("expires at"), db_comment="有効期限(UTC)")
    envelope = models.BinaryField(_("envelope"), db_comment="署名付き封筒(そのまま)")
    payload_sha256 = models.BinaryField(
        _("hash of the payload"), max_length=32, db_comment="署名対象のSHA-256"
    )
    state = models.CharField(
        _("state"),
        max_length=16,
        choices=CommandState.choices,
        db_comment="状態(draft, signed, approved, started, withdrawn)",
    )
    rollout = models.OneToOneField(
        Rollout,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="command",
        verbose_name=_("roll-out"),
        db_comment="段階配布",
    )
    submitted_at = models.DateTimeField(_("submitted at"), db_comment="提出日時(UTC)")
    submitted_by = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        verbose_name=_("submitted by"),
        db_comment="提出した利用者。コマンドなら空",
    )

    class Meta:
        verbose_name = _("command")
        verbose_name_plural = _("commands")
        db_table_comment = "センサーへのコマンド"
        indexes = (
            models.Index(fields=["created_by", "command_class", "-counter"], name="command_by_counter"),
        )
        constraints = (
            models.CheckConstraint(condition=Q(state__in=CommandState.values), name="command_state_known"),
            models.CheckConstraint(
                condition=~Q(state="started") | Q(rollout__isnull=False), name="command_started_with_rollout"
            ),
        )

    def __str__(self) -> str:
        return f"{self.id} {self.verb}"


class CommandResult(models.Model):
    """What one sensor answered, with its signature; appended, never changed."""

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    command = models.ForeignKey(
        Command,
        on_delete=models.PROTECT,
        related_name="results",
        db_index=False,
        verbose_name=_("command"),
        db_comment="コマンド",
    )
    sensor = models.ForeignKey(
        Sensor,
        on_delete=models.PROTECT,
        related_name="command_results",
        verbose_name=_("sensor"),
        db_comment="センサー",
    )
    state = models.CharField(
        _("state"), max_length=16, choices=ResultState.choices, db_comment="結果(done, failed, refused)"
    )
    reason = models.CharField(_("reason"), max_length=40, blank=True, db_comment="理由コード")
    key_no = models.PositiveIntegerField(_("key number"), db_comment="署名したセンサー鍵の番号")
    body = models.BinaryField(_("body"), db_comment="センサーが署名した結果(そのまま)")
    signature = models.BinaryField(_("signature"), max_length=64, db_comment="センサーの署名(Ed25519)")
    started_at = models.DateTimeField(_("started at"), db_comment="実行開始日時(UTC、センサーの時計)")
    ended_at = models.DateTimeField(_("ended at"), db_comment="実行終了日時(UTC、センサーの時計)")
    received_at = models.DateTimeField(_("received at"), db_comment="受信日時(UTC)")

    class Meta:
        verbose_name = _("result of a command")
        verbose_name_plural = _("results of commands")
        db_table_comment = "コマンドの結果(追記のみ、センサーの署名付き)"
        constraints = (
            models.UniqueConstraint(fields=["command", "sensor"], name="command_result_once"),
            models.CheckConstraint(
                condition=Q(state__in=ResultState.values), name="command_result_state_known"
            ),
        )

    def __str__(self) -> str:
        return f"{self.command_id} {self.sensor_id} {self.state}"


class SensorChain(models.Model):
    """How far a sensor's own audit chain was said to go; it may never go back within an epoch."""

    sensor = models.OneToOneField(
        Sensor,
        on_delete=models.PROTECT,
        primary_key=True,
        related_name="chain",
        verbose_name=_("sensor"),
        db_comment="センサー",
    )
    epoch = models.PositiveIntegerField(_("epoch"), db_comment="世代")
    records = models.BigIntegerField(_("records"), db_comment="記録数")
    head = models.BinaryField(_("head"), max_length=32, db_comment="最後の記録の要約値(SHA-256)")
    at = models.DateTimeField(_("at"), db_comment="申告を受けた日時(UTC)")

    class Meta:
        verbose_name = _("sensor's audit chain")
        verbose_name_plural = _("sensors' audit chains")
        db_table_comment = "センサー自身の監査記録の先端(心拍で申告)"

    def __str__(self) -> str:
        return f"{self.sensor_id} {self.records}"
