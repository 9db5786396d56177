"""Probers, canaries, reachability."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("fleet", "0005_health_and_hosts"),
    ]

    operations = [
        migrations.CreateModel(
            name="Prober",
            fields=[
                (
                    "id",
                    models.AutoField(
                        db_comment="通番", primary_key=True, serialize=False, verbose_name="number"
                    ),
                ),
                (
                    "name",
                    models.SlugField(db_comment="名前", max_length=40, unique=True, verbose_name="name"),
                ),
                (
                    "sealed_key",
                    models.BinaryField(
                        db_comment="暗号化したカナリア鍵(32バイト)", verbose_name="sealed key"
                    ),
                ),
                (
                    "addresses",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.GenericIPAddressField(),
                        db_comment="送信元アドレス。これ以外からのカナリアは通常のパケット",
                        size=None,
                        verbose_name="source addresses",
                    ),
                ),
                (
                    "slot_seconds",
                    models.PositiveIntegerField(
                        db_comment="時間枠の長さ(秒)", default=900, verbose_name="slot"
                    ),
                ),
                ("created_at", models.DateTimeField(db_comment="登録日時(UTC)", verbose_name="created at")),
                (
                    "revoked_at",
                    models.DateTimeField(
                        blank=True, db_comment="失効日時(UTC)", null=True, verbose_name="revoked at"
                    ),
                ),
            ],
            options={
                "verbose_name": "prober",
                "verbose_name_plural": "probers",
                "db_table_comment": "カナリア送信元(プローバー)",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("slot_seconds__gte", 60), ("slot_seconds__lte", 86400)),
                        name="prober_slot_60_to_86400",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Canary",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        db_comment="通番", primary_key=True, serialize=False, verbose_name="number"
                    ),
                ),
                (
                    "slot",
                    models.BigIntegerField(
                        db_comment="時間枠の番号(1970年からの秒÷枠の長さ)", verbose_name="slot"
                    ),
                ),
                (
                    "address",
                    models.GenericIPAddressField(db_comment="宛先の公開アドレス", verbose_name="address"),
                ),
                (
                    "protocol",
                    models.PositiveSmallIntegerField(
                        db_comment="プロトコル(6=TCP, 17=UDP)", verbose_name="protocol"
                    ),
                ),
                ("port", models.PositiveIntegerField(db_comment="宛先ポート", verbose_name="port")),
                (
                    "ended_at",
                    models.DateTimeField(db_comment="時間枠の終わり(UTC)", verbose_name="end of the slot"),
                ),
                (
                    "was_sent",
                    models.BooleanField(
                        db_comment="プローバーの記録にあれば真", default=False, verbose_name="sent"
                    ),
                ),
                (
                    "arrived_at",
                    models.DateTimeField(
                        blank=True,
                        db_comment="センサーのバッチで届いた日時(UTC)",
                        null=True,
                        verbose_name="arrived at",
                    ),
                ),
                (
                    "sensor",
                    models.ForeignKey(
                        db_comment="センサー",
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="fleet.sensor",
                        verbose_name="sensor",
                    ),
                ),
                (
                    "prober",
                    models.ForeignKey(
                        db_comment="プローバー",
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="canaries",
                        to="fleet_canary.prober",
                        verbose_name="prober",
                    ),
                ),
            ],
            options={
                "verbose_name": "canary",
                "verbose_name_plural": "canaries",
                "db_table_comment": "判定前のカナリア(送信の記録と到着)",
                "indexes": [models.Index(fields=["ended_at"], name="canary_by_end")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("prober", "slot", "sensor", "address", "protocol", "port"), name="canary_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Reach",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        db_comment="通番", primary_key=True, serialize=False, verbose_name="number"
                    ),
                ),
                ("address", models.GenericIPAddressField(db_comment="公開アドレス", verbose_name="address")),
                (
                    "protocol",
                    models.PositiveSmallIntegerField(
                        db_comment="プロトコル(6=TCP, 17=UDP)", verbose_name="protocol"
                    ),
                ),
                ("port", models.PositiveIntegerField(db_comment="ポート", verbose_name="port")),
                (
                    "arrived",
                    models.PositiveBigIntegerField(db_comment="届いた数", default=0, verbose_name="arrived"),
                ),
                (
                    "lost",
                    models.PositiveBigIntegerField(
                        db_comment="届かなかった数", default=0, verbose_name="lost"
                    ),
                ),
                (
                    "lost_in_row",
                    models.PositiveIntegerField(
                        db_comment="最後に届いてから届かなかった数", default=0, verbose_name="lost in a row"
                    ),
                ),
                (
                    "lost_since",
                    models.DateTimeField(
                        blank=True,
                        db_comment="届かなくなった最初の時間枠の終わり(UTC)",
                        null=True,
                        verbose_name="lost since",
                    ),
                ),
                (
                    "last_tried_at",
                    models.DateTimeField(
                        db_comment="最後に送った時間枠の終わり(UTC)", verbose_name="last tried"
                    ),
                ),
                (
                    "last_arrived_at",
                    models.DateTimeField(
                        blank=True, db_comment="最後に届いた日時(UTC)", null=True, verbose_name="last arrived"
                    ),
                ),
                (
                    "sensor",
                    models.ForeignKey(
                        db_comment="センサー",
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="reaches",
                        to="fleet.sensor",
                        verbose_name="sensor",
                    ),
                ),
            ],
            options={
                "verbose_name": "reachability",
                "verbose_name_plural": "reachability",
                "db_table_comment": "カナリアによる到達性(センサー・アドレス・プロトコル・ポートごと)",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("sensor", "address", "protocol", "port"), name="reach_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("lost__gte", models.F("lost_in_row"))),
                        name="reach_lost_in_row_is_lost",
                    ),
                ],
            },
        ),
    ]
