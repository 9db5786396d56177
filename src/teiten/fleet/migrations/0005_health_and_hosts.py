"""What heartbeats tell of disk, ring and updates; hosts: contacts, agreements, who stopped a sensor."""

import django.contrib.postgres.fields
import django.db.models.deletion
import teiten.fleet.models.hosts
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_audit_chain"),
        ("fleet", "0004_keys_and_states"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="HostAgreement",
            fields=[
                (
                    "organisation",
                    models.OneToOneField(
                        db_comment="設置組織",
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="host_agreement",
                        serialize=False,
                        to="accounts.organisation",
                        verbose_name="organisation",
                    ),
                ),
                (
                    "command_classes",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=1),
                        db_comment="同意済みのコマンド区分(A, B, C, D)",
                        default=teiten.fleet.models.hosts.default_classes,
                        size=None,
                        verbose_name="agreed command classes",
                    ),
                ),
                (
                    "note",
                    models.CharField(
                        blank=True, db_comment="根拠(契約・合意など)", max_length=200, verbose_name="note"
                    ),
                ),
                (
                    "agreed_at",
                    models.DateTimeField(db_comment="同意を記録した日時(UTC)", verbose_name="agreed at"),
                ),
            ],
            options={
                "verbose_name": "host agreement",
                "verbose_name_plural": "host agreements",
                "db_table_comment": "設置組織が同意したコマンド区分。行がなければAとB",
            },
        ),
        migrations.CreateModel(
            name="HostContact",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        db_comment="通番", primary_key=True, serialize=False, verbose_name="number"
                    ),
                ),
                (
                    "name",
                    models.CharField(db_comment="氏名または部署名", max_length=100, verbose_name="name"),
                ),
                (
                    "mail",
                    models.EmailField(
                        db_comment="メールアドレス", max_length=254, verbose_name="mail address"
                    ),
                ),
                (
                    "language",
                    models.CharField(
                        choices=[("ja", "日本語"), ("en", "English")],
                        db_comment="連絡の言語(ja, en)",
                        default="ja",
                        max_length=8,
                        verbose_name="language",
                    ),
                ),
                ("created_at", models.DateTimeField(db_comment="登録日時(UTC)", verbose_name="created at")),
            ],
            options={
                "verbose_name": "contact of a host",
                "verbose_name_plural": "contacts of hosts",
                "db_table_comment": "設置組織の連絡先",
            },
        ),
        migrations.AddField(
            model_name="sensor",
            name="stopped_by",
            field=models.CharField(
                blank=True,
                choices=[("", "Nobody"), ("operator", "Operator"), ("host", "Host")],
                db_comment="停止・失効した側(operator, host)。停止していなければ空",
                db_default="",
                default="",
                max_length=8,
                verbose_name="stopped by",
            ),
        ),
        migrations.AddField(
            model_name="sensorhealth",
            name="disk_free_bytes",
            field=models.BigIntegerField(
                blank=True,
                db_comment="センサーのディスク空き容量(バイト)",
                null=True,
                verbose_name="free disk",
            ),
        ),
        migrations.AddField(
            model_name="sensorhealth",
            name="release",
            field=models.PositiveIntegerField(
                blank=True,
                db_comment="動作中のリリース番号。ランチャーなしなら空",
                null=True,
                verbose_name="release",
            ),
        ),
        migrations.AddField(
            model_name="sensorhealth",
            name="ring_fill_permille",
            field=models.PositiveSmallIntegerField(
                blank=True,
                db_comment="取得リングの直近の最大使用率(千分率)",
                null=True,
                verbose_name="ring fill",
            ),
        ),
        migrations.AddField(
            model_name="sensorhealth",
            name="update_detail",
            field=models.CharField(
                blank=True,
                db_comment="更新の状態の説明",
                db_default="",
                max_length=200,
                verbose_name="update detail",
            ),
        ),
        migrations.AddField(
            model_name="sensorhealth",
            name="update_state",
            field=models.CharField(
                blank=True,
                db_comment="更新の状態(steady, trying, rolled_back, blocked)。ランチャーなしなら空",
                db_default="",
                max_length=16,
                verbose_name="update",
            ),
        ),
        migrations.AddConstraint(
            model_name="sensor",
            constraint=models.CheckConstraint(
                condition=models.Q(("stopped_by__in", ["", "operator", "host"])),
                name="sensor_stopped_by_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="hostagreement",
            constraint=models.CheckConstraint(
                condition=models.Q(("command_classes__contained_by", ["A", "B", "C", "D"])),
                name="host_agreement_classes_known",
            ),
        ),
        migrations.AddField(
            model_name="hostcontact",
            name="created_by",
            field=models.ForeignKey(
                db_comment="登録した利用者。コマンドなら空",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
                verbose_name="entered by",
            ),
        ),
        migrations.AddField(
            model_name="hostcontact",
            name="organisation",
            field=models.ForeignKey(
                db_comment="設置組織",
                on_delete=django.db.models.deletion.PROTECT,
                related_name="host_contacts",
                to="accounts.organisation",
                verbose_name="organisation",
            ),
        ),
        migrations.AddConstraint(
            model_name="hostcontact",
            constraint=models.UniqueConstraint(
                fields=("organisation", "mail"), name="host_contact_mail_once"
            ),
        ),
    ]
