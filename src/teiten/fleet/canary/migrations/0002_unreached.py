"""Which ports did not reach sensors, from when to when; verdicts on slots, and logs taken up once."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


#: Of what was lost in a row only its ends are known.
_KEEP_LOST = """
UPDATE fleet_canary_reach SET
    reached_slot_at = last_arrived_at,
    again_at = last_arrived_at,
    lost_at = CASE WHEN lost_in_row = 0 OR lost_since IS NULL THEN '{}'
        ELSE array_fill(lost_since, ARRAY[least(lost_in_row, 64) - 1]) || last_tried_at END,
    lost_in_row = least(lost_in_row, 64)
"""


class Migration(migrations.Migration):
    dependencies = [
        ("fleet_canary", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="reach",
            name="again_at",
            field=models.DateTimeField(
                blank=True,
                db_comment="前に失われてから最初に届いた日時(UTC)",
                null=True,
                verbose_name="reached again",
            ),
        ),
        migrations.AddField(
            model_name="reach",
            name="lost_at",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.DateTimeField(),
                db_comment="最後に届いた時間枠より後に失われた時間枠の終わり(UTC、古い順、最多64)",
                default=list,
                size=None,
                verbose_name="lost at",
            ),
        ),
        migrations.AddField(
            model_name="reach",
            name="reached_slot_at",
            field=models.DateTimeField(
                blank=True,
                db_comment="最後に届いた時間枠の終わり(UTC)",
                null=True,
                verbose_name="slot last reached",
            ),
        ),
        migrations.CreateModel(
            name="SlotLog",
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
                    "ended_at",
                    models.DateTimeField(db_comment="時間枠の終わり(UTC)", verbose_name="end of the slot"),
                ),
                ("sent", models.PositiveIntegerField(db_comment="送った数", verbose_name="sent")),
                (
                    "taken_at",
                    models.DateTimeField(db_comment="記録を取り込んだ日時(UTC)", verbose_name="taken up at"),
                ),
                (
                    "prober",
                    models.ForeignKey(
                        db_comment="プローバー",
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="logs",
                        to="fleet_canary.prober",
                        verbose_name="prober",
                    ),
                ),
            ],
            options={
                "verbose_name": "log of a slot",
                "verbose_name_plural": "logs of slots",
                "db_table_comment": "取り込んだ送信記録(プローバーと時間枠ごとに一度)",
                "constraints": [models.UniqueConstraint(fields=("prober", "slot"), name="slot_log_once")],
            },
        ),
        migrations.CreateModel(
            name="SlotVerdict",
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
                    "ip_version",
                    models.PositiveSmallIntegerField(
                        db_comment="IPのバージョン(4, 6)", verbose_name="IP version"
                    ),
                ),
                (
                    "protocol",
                    models.PositiveSmallIntegerField(
                        db_comment="プロトコル(6=TCP, 17=UDP)", verbose_name="protocol"
                    ),
                ),
                (
                    "ended_at",
                    models.DateTimeField(db_comment="時間枠の終わり(UTC)", verbose_name="end of the slot"),
                ),
                (
                    "expected",
                    models.PositiveIntegerField(
                        db_comment="届くはずだったセンサーの数", verbose_name="expected"
                    ),
                ),
                (
                    "met",
                    models.PositiveIntegerField(
                        db_comment="そのうち届いたセンサーの数", verbose_name="arrived"
                    ),
                ),
                (
                    "is_void",
                    models.BooleanField(
                        db_comment="多数が同時に届かずプローバー側の障害とみなすなら真(失われた分は不明とする)",
                        verbose_name="void",
                    ),
                ),
                (
                    "prober",
                    models.ForeignKey(
                        db_comment="プローバー",
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="verdicts",
                        to="fleet_canary.prober",
                        verbose_name="prober",
                    ),
                ),
            ],
            options={
                "verbose_name": "verdict on a slot",
                "verbose_name_plural": "verdicts on slots",
                "db_table_comment": "時間枠ごとの判定(プローバー側の障害かどうか)",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("prober", "slot", "ip_version", "protocol"), name="slot_verdict_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Unreached",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        db_comment="通番", primary_key=True, serialize=False, verbose_name="number"
                    ),
                ),
                (
                    "ip_version",
                    models.PositiveSmallIntegerField(
                        db_comment="IPのバージョン(4, 6)", verbose_name="IP version"
                    ),
                ),
                (
                    "protocol",
                    models.PositiveSmallIntegerField(
                        db_comment="プロトコル(6=TCP, 17=UDP)", verbose_name="protocol"
                    ),
                ),
                ("port", models.PositiveIntegerField(db_comment="ポート", verbose_name="port")),
                (
                    "from_at",
                    models.DateTimeField(
                        db_comment="届かなくなった最初の時間枠の終わり(UTC)", verbose_name="from"
                    ),
                ),
                (
                    "to_at",
                    models.DateTimeField(
                        blank=True,
                        db_comment="再び届いた日時(UTC)。続いていれば空、開始と同じなら取消",
                        null=True,
                        verbose_name="until",
                    ),
                ),
                ("known_at", models.DateTimeField(db_comment="判定した日時(UTC)", verbose_name="known at")),
                (
                    "revision",
                    models.BigIntegerField(
                        db_comment="最後に変えた版(全センサー通し)", verbose_name="revision"
                    ),
                ),
                (
                    "sensor",
                    models.ForeignKey(
                        db_comment="センサー",
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="fleet.sensor",
                        verbose_name="sensor",
                    ),
                ),
            ],
            options={
                "verbose_name": "unreachable port",
                "verbose_name_plural": "unreachable ports",
                "db_table_comment": "届かないと判明したポートの期間(率の分母から除く)",
                "indexes": [models.Index(fields=["revision"], name="unreached_newest")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("to_at", None)),
                        fields=("sensor", "ip_version", "protocol", "port"),
                        name="unreached_open_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("to_at", None), ("to_at__gte", models.F("from_at")), _connector="OR"
                        ),
                        name="unreached_ends_after_start",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Way",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        db_comment="通番", primary_key=True, serialize=False, verbose_name="number"
                    ),
                ),
                (
                    "ip_version",
                    models.PositiveSmallIntegerField(
                        db_comment="IPのバージョン(4, 6)", verbose_name="IP version"
                    ),
                ),
                (
                    "protocol",
                    models.PositiveSmallIntegerField(
                        db_comment="プロトコル(6=TCP, 17=UDP)", verbose_name="protocol"
                    ),
                ),
                ("port", models.PositiveIntegerField(db_comment="ポート", verbose_name="port")),
                (
                    "arrived_at",
                    models.DateTimeField(
                        db_comment="いずれかのセンサーに最後に届いた時間枠の終わり(UTC)",
                        verbose_name="last arrived",
                    ),
                ),
                (
                    "prober",
                    models.ForeignKey(
                        db_comment="プローバー",
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="ways",
                        to="fleet_canary.prober",
                        verbose_name="prober",
                    ),
                ),
            ],
            options={
                "verbose_name": "way of a prober",
                "verbose_name_plural": "ways of probers",
                "db_table_comment": "プローバーから届いたことのあるポート(届かなければプローバー側の遮断とみなす)",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("prober", "ip_version", "protocol", "port"), name="way_once"
                    )
                ],
            },
        ),
        migrations.RunSQL(_KEEP_LOST, migrations.RunSQL.noop),
    ]
