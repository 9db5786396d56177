"""Where a sensor stands, which public addresses are its own, and when it is planned to be off.

Each is a history of half-open periods ``[from, to)``; an open end holds until further
notice. Periods of one sensor do not overlap and no public address belongs to two
sensors at a time: the services say so by name, and the database refuses what they
did not see (migration 0003).
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, TypeAlias

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from teiten.accounts.models import User
from teiten.fleet.models.sensors import Region, Sensor

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
#: ISO 3166-1 alpha-2, or empty where nobody said.
COUNTRY_PATTERN = r"^([A-Z]{2})?$"
MOST_ASN = (1 << 32) - 1


if TYPE_CHECKING:
    _Field = models.Field[Any, Any]
else:
    _Field = models.Field


class NetworkField(_Field):
    """A prefix or a single address, PostgreSQL ``cidr``, in Python an ``ip_network``."""

    def db_type(self, connection: Any) -> str:  # noqa: ARG002 - Django's signature
        return "cidr"

    def from_db_value(
        self,
        value: str | None,
        expression: Any,  # noqa: ARG002 - Django's signature
        connection: Any,  # noqa: ARG002 - Django's signature
    ) -> Network | None:
        return None if value is None else ipaddress.ip_network(value)

    def to_python(self, value: Any) -> Network | None:
        if value is None or isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
            return value
        try:
            return ipaddress.ip_network(str(value))
        except ValueError as error:
            raise ValidationError(str(error)) from error

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None else str(value)


class SensorKind(models.TextChoices):
    """What kind of network a sensor stands in."""

    ISP = "isp", _("Internet provider")
    ENTERPRISE = "enterprise", _("Enterprise")
    UNIVERSITY = "university", _("University")
    CLOUD = "cloud", _("Cloud")
    IDC = "idc", _("Data centre")
    OTHER = "other", _("Other")


class SensorMode(models.TextChoices):
    """Whether a sensor stays silent or answers."""

    SILENT = "silent", _("Silent")
    ANSWERING = "answering", _("Answering")


class KnownBy(models.TextChoices):
    """How an address is known, the surest first."""

    CONFIGURED = "configured", _("Entered by an operator")
    METADATA = "metadata", _("Stated by the sensor")
    GATEWAY = "gateway", _("Seen by the gateway")


class SensorPlacement(models.Model):
    """Where a sensor stood in a period."""

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    sensor = models.ForeignKey(
        Sensor,
        on_delete=models.PROTECT,
        related_name="placements",
        verbose_name=_("sensor"),
        db_comment="センサー",
    )
    valid_from = models.DateTimeField(_("from"), db_comment="設置条件の始め(UTC、含む)")
    valid_to = models.DateTimeField(
        _("to"), null=True, blank=True, db_comment="設置条件の終わり(UTC、含まない)。空なら継続中"
    )
    region = models.ForeignKey(
        Region,
        on_delete=models.PROTECT,
        related_name="placements",
        verbose_name=_("region"),
        db_comment="地域",
    )
    country = models.CharField(
        _("country"), max_length=2, blank=True, db_comment="国(ISO 3166-1の2文字)。不明なら空"
    )
    asn = models.BigIntegerField(_("AS number"), default=0, db_comment="AS番号。不明なら0")
    provider = models.CharField(
        _("provider"), max_length=100, blank=True, db_comment="接続事業者。不明なら空"
    )
    kind = models.CharField(
        _("kind"),
        max_length=16,
        choices=SensorKind.choices,
        default=SensorKind.OTHER,
        db_comment="設置環境(isp, enterprise, university, cloud, idc, other)",
    )
    mode = models.CharField(
        _("mode"),
        max_length=16,
        choices=SensorMode.choices,
        default=SensorMode.SILENT,
        db_comment="応答の有無(silent=応答しない, answering=応答する)",
    )

    class Meta:
        verbose_name = _("placement")
        verbose_name_plural = _("placements")
        db_table_comment = "センサーの設置条件の履歴"
        indexes = (models.Index(fields=["sensor", "valid_from"], name="placement_by_sensor"),)
        constraints = (
            models.CheckConstraint(
                condition=Q(valid_to=None) | Q(valid_to__gt=F("valid_from")),
                name="placement_ends_after_start",
            ),
            models.CheckConstraint(
                condition=Q(country__regex=COUNTRY_PATTERN), name="placement_country_form"
            ),
            models.CheckConstraint(
                condition=Q(asn__gte=0) & Q(asn__lte=MOST_ASN), name="placement_asn_32_bits"
            ),
            models.CheckConstraint(condition=Q(kind__in=SensorKind.values), name="placement_kind_known"),
            models.CheckConstraint(condition=Q(mode__in=SensorMode.values), name="placement_mode_known"),
        )

    def __str__(self) -> str:
        return f"{self.id} {self.sensor_id} {self.region_id}"


class ObservedAddress(models.Model):
    """Which public address stood for what a sensor's packets carry, in a period.

    A prefix stands for a prefix of the same length, address by address.
    """

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    sensor = models.ForeignKey(
        Sensor,
        on_delete=models.PROTECT,
        related_name="observed_addresses",
        verbose_name=_("sensor"),
        db_comment="センサー",
    )
    local = NetworkField(_("local address"), db_comment="センサーのパケットに現れるアドレス(CIDR)")
    public = NetworkField(_("public address"), db_comment="インターネットから見えるアドレス(CIDR)")
    valid_from = models.DateTimeField(_("from"), db_comment="対応の始め(UTC、含む)")
    valid_to = models.DateTimeField(
        _("to"), null=True, blank=True, db_comment="対応の終わり(UTC、含まない)。空なら継続中"
    )
    known_by = models.CharField(
        _("known by"),
        max_length=16,
        choices=KnownBy.choices,
        db_comment="知った方法(configured=登録, metadata=センサーの申告, gateway=ゲートウェイの観測)",
    )
    note = models.CharField(_("note"), max_length=200, blank=True, db_comment="備考")

    class Meta:
        verbose_name = _("observed address")
        verbose_name_plural = _("observed addresses")
        db_table_comment = "センサーの観測アドレスの履歴(ローカルと公開の対応)"
        indexes = (models.Index(fields=["sensor", "valid_from"], name="observed_address_by_sensor"),)
        constraints = (
            models.CheckConstraint(
                condition=Q(valid_to=None) | Q(valid_to__gt=F("valid_from")),
                name="observed_address_ends_after_start",
            ),
            models.CheckConstraint(
                condition=Q(known_by__in=KnownBy.values), name="observed_address_known_by_known"
            ),
        )

    def __str__(self) -> str:
        return f"{self.id} {self.local} {self.public}"


class Maintenance(models.Model):
    """A period in which a sensor is planned not to observe."""

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    sensor = models.ForeignKey(
        Sensor,
        on_delete=models.PROTECT,
        related_name="maintenances",
        verbose_name=_("sensor"),
        db_comment="センサー",
    )
    start_at = models.DateTimeField(_("from"), db_comment="計画停止の始め(UTC、含む)")
    end_at = models.DateTimeField(_("to"), db_comment="計画停止の終わり(UTC、含まない)")
    reason = models.CharField(_("reason"), max_length=200, db_comment="理由")
    by = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("planned by"),
        db_comment="計画した利用者。コマンドなら空",
    )

    class Meta:
        verbose_name = _("maintenance")
        verbose_name_plural = _("maintenance")
        db_table_comment = "センサーの計画停止"
        indexes = (models.Index(fields=["end_at"], name="maintenance_by_end"),)
        constraints = (
            models.CheckConstraint(
                condition=Q(end_at__gt=F("start_at")), name="maintenance_ends_after_start"
            ),
        )

    def __str__(self) -> str:
        return f"{self.id} {self.sensor_id} {self.start_at}"


class SensorFacts(models.Model):
    """When what the loader uses of a sensor changed last; the database itself writes it.

    Revisions count over the whole fleet and become visible in their order, so that a
    block can name one and a later attempt can tell whether a sensor changed since.
    """

    sensor = models.OneToOneField(
        Sensor,
        on_delete=models.PROTECT,
        primary_key=True,
        related_name="facts",
        verbose_name=_("sensor"),
        db_comment="センサー",
    )
    revision = models.BigIntegerField(
        _("revision"), unique=True, db_comment="設置条件か観測アドレスを最後に変えた版(全センサー通し)"
    )

    class Meta:
        verbose_name = _("sensor facts")
        verbose_name_plural = _("sensor facts")
        db_table_comment = "センサーの設置条件・観測アドレスの版(トリガーが書く)"

    def __str__(self) -> str:
        return f"{self.sensor_id} {self.revision}"
