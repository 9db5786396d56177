"""A host takes a sensor away: an event of its own, because it can be taken back."""

from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0005_health_and_hosts"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="sensorevent",
            name="sensor_event_kind_known",
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
                    ("withdrawn", "Withdrawn by its host"),
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
                            "withdrawn",
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
    ]
