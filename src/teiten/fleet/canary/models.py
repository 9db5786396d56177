"""Probers, what they sent, what of it arrived, and which ports of which sensors the world can reach."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from teiten.fleet.models import Sensor


class Prober(models.Model):
    """A process outside the sensors' networks that sends canaries."""

    id = models.AutoField(_("number"), primary_key=True, db_comment="通番")
    name = models.SlugField(_("name"), max_length=40, unique=True, db_comment="名前")
    sealed_key = models.BinaryField(_("sealed key"), db_comment="暗号化したカナリア鍵(32バイト)")
    addresses = ArrayField(
        models.GenericIPAddressField(),
        verbose_name=_("source addresses"),
        db_comment="送信元アドレス。これ以外からのカナリアは通常のパケット",
    )
    slot_seconds = models.PositiveIntegerField(_("slot"), default=900, db_comment="時間枠の長さ(秒)")
    created_at = models.DateTimeField(_("created at"), db_comment="登録日時(UTC)")
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True, db_comment="失効日時(UTC)")

    class Meta:
        verbose_name = _("prober")
        verbose_name_plural = _("probers")
        db_table_comment = "カナリア送信元(プローバー)"
        constraints = (
            models.CheckConstraint(
                condition=Q(slot_seconds__gte=60) & Q(slot_seconds__lte=86_400),
                name="prober_slot_60_to_86400",
            ),
        )

    def __str__(self) -> str:
        return self.name


class Canary(models.Model):
    """A canary that was sent, or arrived, and has not been judged yet."""

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    prober = models.ForeignKey(
        Prober,
        on_delete=models.PROTECT,
        related_name="canaries",
        db_index=False,
        verbose_name=_("prober"),
        db_comment="プローバー",
    )
    slot = models.BigIntegerField(_("slot"), db_comment="時間枠の番号(1970年からの秒÷枠の長さ)")
    sensor = models.ForeignKey(
        Sensor,
        on_delete=models.PROTECT,
        related_name="+",
        verbose_name=_("sensor"),
        db_comment="センサー",
    )
    address = models.GenericIPAddressField(_("address"), db_comment="宛先の公開アドレス")
    protocol = models.PositiveSmallIntegerField(_("protocol"), db_comment="プロトコル(6=TCP, 17=UDP)")
    port = models.PositiveIntegerField(_("port"), db_comment="宛先ポート")
    ended_at = models.DateTimeField(_("end of the slot"), db_comment="時間枠の終わり(UTC)")
    was_sent = models.BooleanField(_("sent"), default=False, db_comment="プローバーの記録にあれば真")
    arrived_at = models.DateTimeField(
        _("arrived at"), null=True, blank=True, db_comment="センサーのバッチで届いた日時(UTC)"
    )

    class Meta:
        verbose_name = _("canary")
        verbose_name_plural = _("canaries")
        db_table_comment = "判定前のカナリア(送信の記録と到着)"
        indexes = (models.Index(fields=["ended_at"], name="canary_by_end"),)
        constraints = (
            models.UniqueConstraint(
                fields=["prober", "slot", "sensor", "address", "protocol", "port"], name="canary_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.slot} {self.sensor_id} {self.protocol}/{self.port}"


class Reach(models.Model):
    """How many canaries to one port of one address arrived."""

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    sensor = models.ForeignKey(
        Sensor,
        on_delete=models.PROTECT,
        related_name="reaches",
        db_index=False,
        verbose_name=_("sensor"),
        db_comment="センサー",
    )
    address = models.GenericIPAddressField(_("address"), db_comment="公開アドレス")
    protocol = models.PositiveSmallIntegerField(_("protocol"), db_comment="プロトコル(6=TCP, 17=UDP)")
    port = models.PositiveIntegerField(_("port"), db_comment="ポート")
    arrived = models.PositiveBigIntegerField(_("arrived"), default=0, db_comment="届いた数")
    lost = models.PositiveBigIntegerField(_("lost"), default=0, db_comment="届かなかった数")
    lost_in_row = models.PositiveIntegerField(
        _("lost in a row"), default=0, db_comment="最後に届いてから届かなかった数"
    )
    lost_since = models.DateTimeField(
        _("lost since"), null=True, blank=True, db_comment="届かなくなった最初の時間枠の終わり(UTC)"
    )
    last_tried_at = models.DateTimeField(_("last tried"), db_comment="最後に送った時間枠の終わり(UTC)")
    last_arrived_at = models.DateTimeField(
        _("last arrived"), null=True, blank=True, db_comment="最後に届いた日時(UTC)"
    )
    reached_slot_at = models.DateTimeField(
        _("slot last reached"), null=True, blank=True, db_comment="最後に届いた時間枠の終わり(UTC)"
    )
    again_at = models.DateTimeField(
        _("reached again"), null=True, blank=True, db_comment="前に失われてから最初に届いた日時(UTC)"
    )
    lost_at = ArrayField(
        models.DateTimeField(),
        default=list,
        verbose_name=_("lost at"),
        db_comment="最後に届いた時間枠より後に失われた時間枠の終わり(UTC、古い順、最多64)",
    )

    class Meta:
        verbose_name = _("reachability")
        verbose_name_plural = _("reachability")
        db_table_comment = "カナリアによる到達性(センサー・アドレス・プロトコル・ポートごと)"
        constraints = (
            models.UniqueConstraint(fields=["sensor", "address", "protocol", "port"], name="reach_once"),
            models.CheckConstraint(condition=Q(lost__gte=F("lost_in_row")), name="reach_lost_in_row_is_lost"),
        )

    def __str__(self) -> str:
        return f"{self.sensor_id} {self.protocol}/{self.port}"


class SlotLog(models.Model):
    """What a prober said it sent in a slot was taken up; once."""

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    prober = models.ForeignKey(
        Prober,
        on_delete=models.PROTECT,
        related_name="logs",
        db_index=False,
        verbose_name=_("prober"),
        db_comment="プローバー",
    )
    slot = models.BigIntegerField(_("slot"), db_comment="時間枠の番号(1970年からの秒÷枠の長さ)")
    ended_at = models.DateTimeField(_("end of the slot"), db_comment="時間枠の終わり(UTC)")
    sent = models.PositiveIntegerField(_("sent"), db_comment="送った数")
    taken_at = models.DateTimeField(_("taken up at"), db_comment="記録を取り込んだ日時(UTC)")

    class Meta:
        verbose_name = _("log of a slot")
        verbose_name_plural = _("logs of slots")
        db_table_comment = "取り込んだ送信記録(プローバーと時間枠ごとに一度)"
        constraints = (models.UniqueConstraint(fields=["prober", "slot"], name="slot_log_once"),)

    def __str__(self) -> str:
        return f"{self.prober_id} {self.slot}"


class SlotVerdict(models.Model):
    """Whether a slot of a prober, of one IP version and protocol, can be held against sensors."""

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    prober = models.ForeignKey(
        Prober,
        on_delete=models.PROTECT,
        related_name="verdicts",
        db_index=False,
        verbose_name=_("prober"),
        db_comment="プローバー",
    )
    slot = models.BigIntegerField(_("slot"), db_comment="時間枠の番号(1970年からの秒÷枠の長さ)")
    ip_version = models.PositiveSmallIntegerField(_("IP version"), db_comment="IPのバージョン(4, 6)")
    protocol = models.PositiveSmallIntegerField(_("protocol"), db_comment="プロトコル(6=TCP, 17=UDP)")
    ended_at = models.DateTimeField(_("end of the slot"), db_comment="時間枠の終わり(UTC)")
    expected = models.PositiveIntegerField(_("expected"), db_comment="届くはずだったセンサーの数")
    met = models.PositiveIntegerField(_("arrived"), db_comment="そのうち届いたセンサーの数")
    is_void = models.BooleanField(
        _("void"), db_comment="多数が同時に届かずプローバー側の障害とみなすなら真(失われた分は不明とする)"
    )

    class Meta:
        verbose_name = _("verdict on a slot")
        verbose_name_plural = _("verdicts on slots")
        db_table_comment = "時間枠ごとの判定(プローバー側の障害かどうか)"
        constraints = (
            models.UniqueConstraint(
                fields=["prober", "slot", "ip_version", "protocol"], name="slot_verdict_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.prober_id} {self.slot} {self.ip_version}/{self.protocol}"


class Way(models.Model):
    """When a prober's canaries to a port last reached any sensor: its own network lets them out."""

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    prober = models.ForeignKey(
        Prober,
        on_delete=models.PROTECT,
        related_name="ways",
        db_index=False,
        verbose_name=_("prober"),
        db_comment="プローバー",
    )
    ip_version = models.PositiveSmallIntegerField(_("IP version"), db_comment="IPのバージョン(4, 6)")
    protocol = models.PositiveSmallIntegerField(_("protocol"), db_comment="プロトコル(6=TCP, 17=UDP)")
    port = models.PositiveIntegerField(_("port"), db_comment="ポート")
    arrived_at = models.DateTimeField(
        _("last arrived"), db_comment="いずれかのセンサーに最後に届いた時間枠の終わり(UTC)"
    )

    class Meta:
        verbose_name = _("way of a prober")
        verbose_name_plural = _("ways of probers")
        db_table_comment = "プローバーから届いたことのあるポート(届かなければプローバー側の遮断とみなす)"
        constraints = (
            models.UniqueConstraint(fields=["prober", "ip_version", "protocol", "port"], name="way_once"),
        )

    def __str__(self) -> str:
        return f"{self.prober_id} {self.ip_version} {self.protocol}/{self.port}"


class Unreached(models.Model):
    """From when to when a port was known not to reach a sensor; what was known stays."""

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    sensor = models.ForeignKey(
        Sensor,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
        verbose_name=_("sensor"),
        db_comment="センサー",
    )
    ip_version = models.PositiveSmallIntegerField(_("IP version"), db_comment="IPのバージョン(4, 6)")
    protocol = models.PositiveSmallIntegerField(_("protocol"), db_comment="プロトコル(6=TCP, 17=UDP)")
    port = models.PositiveIntegerField(_("port"), db_comment="ポート")
    from_at = models.DateTimeField(_("from"), db_comment="届かなくなった最初の時間枠の終わり(UTC)")
    to_at = models.DateTimeField(
        _("until"),
        null=True,
        blank=True,
        db_comment="再び届いた日時(UTC)。続いていれば空、開始と同じなら取消",
    )
    known_at = models.DateTimeField(_("known at"), db_comment="判定した日時(UTC)")
    revision = models.BigIntegerField(_("revision"), db_comment="最後に変えた版(全センサー通し)")

    class Meta:
        verbose_name = _("unreachable port")
        verbose_name_plural = _("unreachable ports")
        db_table_comment = "届かないと判明したポートの期間(率の分母から除く)"
        indexes = (models.Index(fields=["revision"], name="unreached_newest"),)
        constraints = (
            models.UniqueConstraint(
                fields=["sensor", "ip_version", "protocol", "port"],
                condition=Q(to_at=None),
                name="unreached_open_once",
            ),
            models.CheckConstraint(
                condition=Q(to_at=None) | Q(to_at__gte=F("from_at")), name="unreached_ends_after_start"
            ),
        )

    def __str__(self) -> str:
        return f"{self.sensor_id} {self.ip_version} {self.protocol}/{self.port}"
