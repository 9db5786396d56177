"""An alarm for a sensor that its host takes away."""

from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_audit_chain"),
        ("fleet", "0006_withdrawn"),
        ("fleet_alarms", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="alarm",
            name="alarm_kind_known",
        ),
        migrations.AlterField(
            model_name="alarm",
            name="kind",
            field=models.CharField(
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
                    ("withdrawn", "Withdrawn by its host"),
                    ("canary_lost", "Canary lost"),
                ],
                db_comment="種別",
                max_length=32,
                verbose_name="kind",
            ),
        ),
        migrations.AddConstraint(
            model_name="alarm",
            constraint=models.CheckConstraint(
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
                            "withdrawn",
                            "canary_lost",
                        ],
                    )
                ),
                name="alarm_kind_known",
            ),
        ),
    ]
