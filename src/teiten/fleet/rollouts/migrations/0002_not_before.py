"""A command that is valid later must not be given out earlier: sensors would refuse it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("fleet_rollouts", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="rollout",
            name="not_before",
            field=models.DateTimeField(
                blank=True,
                db_comment="これより前は解放しない日時(UTC)。空なら制限なし",
                null=True,
                verbose_name="not before",
            ),
        ),
    ]
