"""The sensors of the observatory: where they stand, their keys, tokens, health and history."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from teiten.accounts.models import CODE_PATTERN, Organisation
from teiten.protocol.header_text import MAX_EXAMPLES, MAX_PAYLOAD_BYTES
from teiten.protocol.sensor_config import MAX_WINDOW_SECONDS

#: What the name of a sensor looks like.
SENSOR_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
PUBLIC_KEY_BYTES = 32


class Dataset(models.TextChoices):
    """The data set of what a sensor observes."""

    LIVE = "live", _("Live")
    SIMULATED = "simulated", _("Simulated")


class SensorState(models.TextChoices):
    """How far a sensor is from sending; only ``active`` and ``quarantined`` ones land batches."""

    CREATED = "created", _("Created")
    TOKEN_ISSUED = "token_issued", _("Token issued")
    PENDING_APPROVAL = "pending_approval", _("Waiting for approval")
    ACTIVE = "active", _("Active")
    SUSPENDED = "suspended", _("Suspended")
    REVOKED = "revoked", _("Revoked")
    QUARANTINED = "quarantined", _("Quarantined")


class StoppedBy(models.TextChoices):
    """Who suspended or revoked a sensor, where it matters who may take that back."""

    NOBODY = "", _("Nobody")
    OPERATOR = "operator", _("Operator")
    HOST = "host", _("Host")


class Region(models.Model):
    """A region by which sensors are grouped and compared."""

    code = models.CharField(
        _("code"),
        primary_key=True,
        max_length=40,
        validators=[RegexValidator(CODE_PATTERN)],
        db_comment="地域コード",
    )
    name_ja = models.CharField(_("name in Japanese"), max_length=100, db_comment="地域名(日本語)")
    name_en = models.CharField(_("name in English"), max_length=100, db_comment="地域名(英語)")
    position = models.PositiveSmallIntegerField(_("position"), default=0, db_comment="表示順")

    class Meta:
        verbose_name = _("region")
        verbose_name_plural = _("regions")
        db_table_comment = "センサーの地域"
        constraints = (
            models.CheckConstraint(condition=Q(code__regex=CODE_PATTERN), name="region_code_form"),
        )

    def __str__(self) -> str:
        return self.code


class Sensor(models.Model):
    """One observation point."""

    id = models.AutoField(_("number"), primary_key=True, db_comment="センサー番号")
    name = models.CharField(
        _("name"),
        max_length=64,
        unique=True,
        validators=[RegexValidator(SENSOR_NAME_PATTERN)],
        db_comment="センサー名",
    )
    region = models.ForeignKey(
        Region, on_delete=models.PROTECT, related_name="sensors", verbose_name=_("region"), db_comment="地域"
    )
    organisation = models.ForeignKey(
        Organisation,
        on_delete=models.PROTECT,
        related_name="sensors",
        verbose_name=_("organisation"),
        db_comment="設置組織",
    )
    dataset = models.CharField(
        _("data set"),
        max_length=16,
        choices=Dataset.choices,
        db_comment="データ種別(live=実観測, simulated=模擬)",
    )
    may_import = models.BooleanField(
        _("may import"), default=False, db_comment="取り込みデータ(import:名前)を送ってよいなら真"
    )
    tags = ArrayField(
        models.CharField(max_length=40), verbose_name=_("tags"), default=list, blank=True, db_comment="目印"
    )
    state = models.CharField(
        _("state"),
        max_length=20,
        choices=SensorState.choices,
        default=SensorState.CREATED,
        db_comment="状態(created, token_issued, pending_approval, active, suspended, revoked, quarantined)",
    )
    stopped_by = models.CharField(
        _("stopped by"),
        max_length=8,
        blank=True,
        choices=StoppedBy.choices,
        default=StoppedBy.NOBODY,
        db_default="",
        db_comment="停止・失効した側(operator, host)。停止していなければ空",
    )
    epoch = models.PositiveIntegerField(
        _("epoch"), default=1, db_comment="世代。作り直すたびに1増え、通番は1に戻る"
    )
    needs_approval = models.BooleanField(
        _("needs approval"), default=False, db_comment="参加後、承認されるまで待たせるなら真"
    )
    held_epoch = models.PositiveIntegerField(
        _("held epoch"),
        default=0,
        db_default=0,
        db_comment="この世代までのバッチは複製の疑いで留め置く。0=留め置きなし",
    )
    live = models.BooleanField(_("live mode"), default=False, db_comment="1秒ごとに送るなら真")
    window_seconds = models.PositiveIntegerField(
        _("window"),
        default=300,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_WINDOW_SECONDS)],
        db_comment="通常の観測窓の長さ(秒)",
    )
    payload_bytes = models.PositiveSmallIntegerField(
        _("payload bytes"),
        null=True,
        blank=True,
        validators=[MaxValueValidator(MAX_PAYLOAD_BYTES)],
        db_comment="パケットごとに残すペイロードの上限(バイト)。0=残さない、空=センサーの設定どおり",
    )
    examples_per_window = models.PositiveSmallIntegerField(
        _("payload examples a window"),
        null=True,
        blank=True,
        validators=[MaxValueValidator(MAX_EXAMPLES)],
        db_comment="観測窓ごとのペイロード見本の上限。空=センサーの設定どおり",
    )
    config_version = models.PositiveIntegerField(
        _("configuration version"), default=1, db_comment="センサーへ渡す設定の版。変えるたびに1増える"
    )
    note = models.TextField(_("note"), blank=True, db_comment="備考")
    created_at = models.DateTimeField(_("created at"), db_comment="登録日時(UTC)")
    enrolled_at = models.DateTimeField(
        _("enrolled at"), null=True, blank=True, db_comment="参加手続き完了日時(UTC)"
    )

    class Meta:
        verbose_name = _("sensor")
        verbose_name_plural = _("sensors")
        db_table_comment = "センサー"
        constraints = (
            models.CheckConstraint(condition=Q(name__regex=SENSOR_NAME_PATTERN), name="sensor_name_form"),
            models.CheckConstraint(condition=Q(dataset__in=Dataset.values), name="sensor_dataset_known"),
            models.CheckConstraint(condition=Q(state__in=SensorState.values), name="sensor_state_known"),
            models.CheckConstraint(
                condition=Q(stopped_by__in=StoppedBy.values), name="sensor_stopped_by_known"
            ),
            models.CheckConstraint(condition=Q(epoch__gte=1), name="sensor_epoch_from_1"),
            models.CheckConstraint(
                condition=Q(window_seconds__gte=1) & Q(window_seconds__lte=MAX_WINDOW_SECONDS),
                name="sensor_window_1_to_3600",
            ),
        )

    def __str__(self) -> str:
        return f"{self.id} {self.name}"


class SensorKey(models.Model):
    """A public key by which a sensor signs; several over its life, one current."""

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    sensor = models.ForeignKey(
        Sensor, on_delete=models.PROTECT, related_name="keys", verbose_name=_("sensor"), db_comment="センサー"
    )
    key_no = models.PositiveIntegerField(_("key number"), db_comment="鍵番号(1から)")
    public_key = models.BinaryField(
        _("public key"), max_length=PUBLIC_KEY_BYTES, unique=True, db_comment="Ed25519公開鍵(32バイト)"
    )
    epoch = models.PositiveIntegerField(_("epoch"), db_comment="この鍵が有効な世代")
    from_seq = models.BigIntegerField(_("from sequence"), default=1, db_comment="この鍵が有効な最初の通番")
    to_seq = models.BigIntegerField(
        _("to sequence"), null=True, blank=True, db_comment="この鍵が有効な最後の通番。空=制限なし"
    )
    created_at = models.DateTimeField(_("created at"), db_comment="登録日時(UTC)")
    superseded_at = models.DateTimeField(
        _("replaced at"), null=True, blank=True, db_comment="次の鍵に替えた日時(UTC)。以後の要求には使えない"
    )
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True, db_comment="失効日時(UTC)")

    class Meta:
        verbose_name = _("sensor key")
        verbose_name_plural = _("sensor keys")
        db_table_comment = "センサーの公開鍵"
        constraints = (
            models.UniqueConstraint(fields=["sensor", "key_no"], name="sensor_key_number_once"),
            models.CheckConstraint(condition=Q(key_no__gte=1), name="sensor_key_from_1"),
            models.UniqueConstraint(
                fields=["sensor"],
                condition=Q(superseded_at=None, revoked_at=None),
                name="sensor_key_one_current",
            ),
        )

    def __str__(self) -> str:
        return f"{self.sensor_id}.{self.key_no}"


class TokenPurpose(models.TextChoices):
    """What a token is for."""

    ENROL = "enrol", _("Enrolment")
    RECOVER = "recover", _("Recovery")


class EnrolmentToken(models.Model):
    """A single-use secret that lets one key become a sensor's, at first or after a loss."""

    id = models.CharField(_("token id"), primary_key=True, max_length=32, db_comment="トークンID(公開部分)")
    sensor = models.ForeignKey(
        Sensor,
        on_delete=models.PROTECT,
        related_name="enrolment_tokens",
        verbose_name=_("sensor"),
        db_comment="センサー",
    )
    purpose = models.CharField(
        _("purpose"),
        max_length=8,
        choices=TokenPurpose.choices,
        default=TokenPurpose.ENROL,
        db_default=TokenPurpose.ENROL.value,
        db_comment="用途(enrol=参加, recover=鍵の作り直し)",
    )
    sealed_secret = models.BinaryField(
        _("sealed secret"), null=True, db_comment="暗号化した秘密部分。使用後は消す"
    )
    cidr = models.CharField(
        _("allowed network"), max_length=49, blank=True, db_comment="利用元ネットワーク(CIDR)。空なら制限なし"
    )
    created_at = models.DateTimeField(_("created at"), db_comment="発行日時(UTC)")
    expires_at = models.DateTimeField(_("expires at"), db_comment="期限(UTC)")
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True, db_comment="失効日時(UTC)")
    used_at = models.DateTimeField(_("used at"), null=True, blank=True, db_comment="使用日時(UTC)")
    used_key = models.BinaryField(
        _("key that used it"), max_length=PUBLIC_KEY_BYTES, null=True, db_comment="使用した公開鍵"
    )
    used_from = models.GenericIPAddressField(_("used from"), null=True, db_comment="使用元アドレス")

    class Meta:
        verbose_name = _("enrolment token")
        verbose_name_plural = _("enrolment tokens")
        db_table_comment = "センサー参加トークン"
        constraints = (
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("created_at")), name="enrolment_token_expires_after_creation"
            ),
            models.CheckConstraint(
                condition=Q(used_at=None) | Q(sealed_secret=None), name="enrolment_token_used_without_secret"
            ),
            models.CheckConstraint(
                condition=Q(purpose__in=TokenPurpose.values), name="enrolment_token_purpose_known"
            ),
        )

    def __str__(self) -> str:
        return f"{'tr1' if self.purpose == TokenPurpose.RECOVER else 'tt1'}_{self.id}"


class SensorHealth(models.Model):
    """What a sensor last said about itself; one row a sensor, changed by each heartbeat."""

    sensor = models.OneToOneField(
        Sensor,
        on_delete=models.PROTECT,
        primary_key=True,
        related_name="health",
        verbose_name=_("sensor"),
        db_comment="センサー",
    )
    heartbeat_at = models.DateTimeField(_("last heartbeat"), db_comment="最後の心拍を受けた日時(UTC)")
    counter = models.BigIntegerField(_("counter"), db_comment="心拍の通番。増えなければ受け付けない")
    boot_id = models.CharField(_("boot id"), max_length=64, db_comment="センサー起動ごとの乱数")
    previous_boot_id = models.CharField(
        _("previous boot id"), max_length=64, blank=True, db_comment="一つ前の起動の乱数。戻れば複製を疑う"
    )
    booted_at = models.DateTimeField(_("booted at"), db_comment="この起動の最初の心拍の日時(UTC)")
    software = models.CharField(_("version"), max_length=64, db_comment="センサープログラムの版")
    clock_offset_us = models.BigIntegerField(
        _("clock offset"), null=True, db_comment="時計のずれ(マイクロ秒、サーバー時刻-センサー時刻)"
    )
    captured = models.BigIntegerField(_("captured"), default=0, db_comment="起動後に取得したパケット数")
    kernel_drops = models.BigIntegerField(
        _("kernel drops"), default=0, db_comment="起動後にカーネルが落としたパケット数"
    )
    recent_captured = models.FloatField(
        _("recently captured"), default=0, db_comment="最近の取得パケット数(15分の時定数で減衰)"
    )
    recent_drops = models.FloatField(
        _("recent kernel drops"), default=0, db_comment="最近のカーネル落としパケット数(15分の時定数で減衰)"
    )
    spool_batches = models.BigIntegerField(_("spooled batches"), default=0, db_comment="未送信バッチ数")
    spool_bytes = models.BigIntegerField(_("spooled bytes"), default=0, db_comment="未送信バイト数")
    disk_free_bytes = models.BigIntegerField(
        _("free disk"), null=True, blank=True, db_comment="センサーのディスク空き容量(バイト)"
    )
    ring_fill_permille = models.PositiveSmallIntegerField(
        _("ring fill"), null=True, blank=True, db_comment="取得リングの直近の最大使用率(千分率)"
    )
    release = models.PositiveIntegerField(
        _("release"), null=True, blank=True, db_comment="動作中のリリース番号。ランチャーなしなら空"
    )
    update_state = models.CharField(
        _("update"),
        max_length=16,
        blank=True,
        db_default="",
        db_comment="更新の状態(steady, trying, rolled_back, blocked)。ランチャーなしなら空",
    )
    update_detail = models.CharField(
        _("update detail"), max_length=200, blank=True, db_default="", db_comment="更新の状態の説明"
    )
    silent_since = models.DateTimeField(
        _("silent since"), null=True, blank=True, db_comment="沈黙を記録した日時(UTC)。心拍が戻れば空"
    )
    last_error = models.TextField(_("last error"), blank=True, db_comment="センサーの直近のエラー")
    peer = models.GenericIPAddressField(_("peer"), null=True, db_comment="心拍の送信元アドレス")
    address_key = models.CharField(
        _("settled addresses"),
        max_length=64,
        blank=True,
        db_default="",
        db_comment="記録済みの申告アドレスの要約。変われば記録し直す",
    )
    address_due_at = models.DateTimeField(
        _("settle again at"), null=True, blank=True, db_comment="申告アドレスを見直す日時(UTC)"
    )
    report = models.JSONField(_("report"), default=dict, db_comment="心拍の全内容")

    class Meta:
        verbose_name = _("sensor health")
        verbose_name_plural = _("sensor health")
        db_table_comment = "センサーの健康状態(最新)"

    def __str__(self) -> str:
        return f"{self.sensor_id} {self.heartbeat_at}"
