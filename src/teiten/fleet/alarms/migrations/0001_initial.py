"""Alarms."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("accounts", "0004_audit_chain"),
        ("fleet", "0005_health_and_hosts"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Alarm",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        db_comment="通番", primary_key=True, serialize=False, verbose_name="number"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("silent", "Sensor silent"),
                            ("mass_silence", "Many sensors silent"),
                            ("dropping", "Packets dropped"),
                            ("skewed", "Clock off"),
                            ("gapped", "Batches missing"),
                            ("cloned", "Suspected to run twice"),
                            ("ring_full", "Ring nearly full"),
                            ("disk_low", "Disk low"),
                            ("update_failed", "Update failed"),
                            ("chain_broken", "Audit chain went back"),
                            ("token_reused", "Enrolment token used again with another key"),
                            ("canary_lost", "Canary lost"),
                        ],
                        db_comment="種別",
                        max_length=32,
                        verbose_name="kind",
                    ),
                ),
                (
                    "group",
                    models.CharField(
                        blank=True,
                        db_comment="群(fleet, asn 64500, region kanto, org alpha)",
                        max_length=64,
                        verbose_name="group",
                    ),
                ),
                ("opened_at", models.DateTimeField(db_comment="発生日時(UTC)", verbose_name="since")),
                (
                    "closed_at",
                    models.DateTimeField(
                        blank=True, db_comment="終了日時(UTC)", null=True, verbose_name="until"
                    ),
                ),
                (
                    "acknowledged_at",
                    models.DateTimeField(
                        blank=True, db_comment="確認日時(UTC)", null=True, verbose_name="acknowledged at"
                    ),
                ),
                (
                    "mailed_at",
                    models.DateTimeField(
                        blank=True,
                        db_comment="発生をメールで知らせた日時(UTC)",
                        null=True,
                        verbose_name="mailed at",
                    ),
                ),
                ("detail", models.JSONField(db_comment="詳細", default=dict, verbose_name="detail")),
                (
                    "acknowledged_by",
                    models.ForeignKey(
                        blank=True,
                        db_comment="確認した利用者。コマンドなら空",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="acknowledged by",
                    ),
                ),
                (
                    "organisation",
                    models.ForeignKey(
                        blank=True,
                        db_comment="知らせる設置組織。運用者だけなら空",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.organisation",
                        verbose_name="organisation",
                    ),
                ),
                (
                    "sensor",
                    models.ForeignKey(
                        blank=True,
                        db_comment="センサー。群の警報なら空",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="alarms",
                        to="fleet.sensor",
                        verbose_name="sensor",
                    ),
                ),
                (
                    "within",
                    models.ForeignKey(
                        blank=True,
                        db_comment="まとめた群の警報。運用者には群だけを見せる",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="parts",
                        to="fleet_alarms.alarm",
                        verbose_name="part of",
                    ),
                ),
            ],
            options={
                "verbose_name": "alarm",
                "verbose_name_plural": "alarms",
                "db_table_comment": "センサーの警報(種別とセンサーまたは群ごとに同時に一つまで)",
                "indexes": [
                    models.Index(fields=["-opened_at"], name="alarm_newest"),
                    models.Index(
                        condition=models.Q(("closed_at", None)), fields=["kind", "sensor"], name="alarm_open"
                    ),
                    models.Index(
                        condition=models.Q(("within__isnull", False)), fields=["within"], name="alarm_parts"
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "kind__in",
                                [
                                    "silent",
                                    "mass_silence",
                                    "dropping",
                                    "skewed",
                                    "gapped",
                                    "cloned",
                                    "ring_full",
                                    "disk_low",
                                    "update_failed",
                                    "chain_broken",
                                    "token_reused",
                                    "canary_lost",
                                ],
                            )
                        ),
                        name="alarm_kind_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("group__gt", ""), ("sensor", None)),
                            models.Q(("group", ""), ("sensor__isnull", False)),
                            _connector="OR",
                        ),
                        name="alarm_of_sensor_or_group",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("closed_at", None), ("closed_at__gte", models.F("opened_at")), _connector="OR"
                        ),
                        name="alarm_ends_after_start",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("closed_at", None)),
                        fields=("kind", "sensor"),
                        name="alarm_open_once_a_sensor",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("closed_at", None), ("sensor", None)),
                        fields=("kind", "group"),
                        name="alarm_open_once_a_group",
                    ),
                ],
            },
        ),
    ]
