"""Keys that follow one another, recovery tokens, approval per sensor, and epochs that are kept back."""

from django.conf import settings
from django.db import migrations, models


#: What was quarantined before this migration is kept back as before.
KEEP_BACK = "UPDATE fleet_sensor SET held_epoch = epoch WHERE state = 'quarantined'"


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0003_place_rules"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="sensorevent",
            name="sensor_event_kind_known",
        ),
        migrations.AddField(
            model_name="enrolmenttoken",
            name="purpose",
            field=models.CharField(
                choices=[("enrol", "Enrolment"), ("recover", "Recovery")],
                db_comment="用途(enrol=参加, recover=鍵の作り直し)",
                db_default="enrol",
                default="enrol",
                max_length=8,
                verbose_name="purpose",
            ),
        ),
        migrations.AddField(
            model_name="sensor",
            name="held_epoch",
            field=models.PositiveIntegerField(
                db_comment="この世代までのバッチは複製の疑いで留め置く。0=留め置きなし",
                db_default=0,
                default=0,
                verbose_name="held epoch",
            ),
        ),
        migrations.AddField(
            model_name="sensor",
            name="needs_approval",
            field=models.BooleanField(
                db_comment="参加後、承認されるまで待たせるなら真",
                default=False,
                verbose_name="needs approval",
            ),
        ),
        migrations.AddField(
            model_name="sensorkey",
            name="superseded_at",
            field=models.DateTimeField(
                blank=True,
                db_comment="次の鍵に替えた日時(UTC)。以後の要求には使えない",
                null=True,
                verbose_name="replaced at",
            ),
        ),
        migrations.AddField(
            model_name="sensorkey",
            name="to_seq",
            field=models.BigIntegerField(
                blank=True,
                db_comment="この鍵が有効な最後の通番。空=制限なし",
                null=True,
                verbose_name="to sequence",
            ),
        ),
        migrations.AlterField(
            model_name="sensorevent",
            name="kind",
            field=models.CharField(
                choices=[
                    ("created", "Created"),
                    ("token_issued", "Enrolment token issued"),
                    ("enrolled", "Enrolled"),
                    ("enrolment_refused", "Enrolment refused"),
                    ("token_reused", "Enrolment token used again with another key"),
                    ("approved", "Approved"),
                    ("suspended", "Suspended"),
                    ("resumed", "Resumed"),
                    ("revoked", "Revoked"),
                    ("key_rotated", "Key replaced"),
                    ("recovery_issued", "Recovery token issued"),
                    ("recovered", "Recovered with a new key"),
                    ("held_released", "Held batches released"),
                    ("held_discarded", "Held batches discarded"),
                    ("chain_broken", "Audit chain went back"),
                    ("configured", "Configured"),
                    ("restarted", "Restarted"),
                    ("silent", "Fell silent"),
                    ("heard_again", "Heard again"),
                    ("clone_suspected", "Suspected to run twice"),
                    ("heartbeat_refused", "Heartbeat refused"),
                    ("placed", "Placed"),
                    ("addressed", "Observed address changed"),
                    ("maintenance", "Maintenance planned"),
                ],
                db_comment="種別",
                max_length=32,
                verbose_name="kind",
            ),
        ),
        migrations.AddConstraint(
            model_name="enrolmenttoken",
            constraint=models.CheckConstraint(
                condition=models.Q(("purpose__in", ["enrol", "recover"])),
                name="enrolment_token_purpose_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="sensorevent",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "kind__in",
                        [
                            "created",
                            "token_issued",
                            "enrolled",
                            "enrolment_refused",
                            "token_reused",
                            "approved",
                            "suspended",
                            "resumed",
                            "revoked",
                            "key_rotated",
                            "recovery_issued",
                            "recovered",
                            "held_released",
                            "held_discarded",
                            "chain_broken",
                            "configured",
                            "restarted",
                            "silent",
                            "heard_again",
                            "clone_suspected",
                            "heartbeat_refused",
                            "placed",
                            "addressed",
                            "maintenance",
                        ],
                    )
                ),
                name="sensor_event_kind_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="sensorkey",
            constraint=models.UniqueConstraint(
                condition=models.Q(("revoked_at", None), ("superseded_at", None)),
                fields=("sensor",),
                name="sensor_key_one_current",
            ),
        ),
        migrations.RunSQL(KEEP_BACK, migrations.RunSQL.noop),
    ]
