"""The audit chain: append-only in the database itself."""

from django.db import migrations, models

FORWARD = """
CREATE FUNCTION accounts_refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit chain is append-only: % refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER accounts_auditrecord_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON accounts_auditrecord
    FOR EACH STATEMENT EXECUTE FUNCTION accounts_refuse_audit_change();
ALTER TABLE accounts_auditrecord
    ADD CONSTRAINT audit_digests_32_bytes CHECK (octet_length(previous) = 32 AND octet_length(digest) = 32);
"""
BACKWARD = """
ALTER TABLE accounts_auditrecord DROP CONSTRAINT audit_digests_32_bytes;
DROP TRIGGER accounts_auditrecord_append_only ON accounts_auditrecord;
DROP FUNCTION accounts_refuse_audit_change();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_payload_permission"),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditRecord",
            fields=[
                (
                    "number",
                    models.BigIntegerField(
                        db_comment="通番(1から、欠番なし)",
                        primary_key=True,
                        serialize=False,
                        verbose_name="number",
                    ),
                ),
                ("at", models.DateTimeField(db_comment="日時(UTC)", db_index=True, verbose_name="at")),
                (
                    "kind",
                    models.CharField(
                        db_comment="種別(例 sensor.suspended)", max_length=64, verbose_name="kind"
                    ),
                ),
                (
                    "subject",
                    models.CharField(db_comment="対象(例 sensor:12)", max_length=100, verbose_name="subject"),
                ),
                (
                    "actor",
                    models.CharField(
                        blank=True,
                        db_comment="行った利用者のID。コマンド・自動なら空",
                        max_length=64,
                        verbose_name="actor",
                    ),
                ),
                (
                    "content",
                    models.TextField(db_comment="正規形の記録(JSON)。要約値の対象", verbose_name="content"),
                ),
                (
                    "previous",
                    models.BinaryField(
                        db_comment="直前の記録の要約値(SHA-256、32バイト)",
                        max_length=32,
                        verbose_name="digest before",
                    ),
                ),
                (
                    "digest",
                    models.BinaryField(
                        db_comment="直前の要約値と内容の要約値(SHA-256、32バイト)",
                        max_length=32,
                        verbose_name="digest",
                    ),
                ),
            ],
            options={
                "verbose_name": "audit record",
                "verbose_name_plural": "audit records",
                "db_table_comment": "監査記録(追記のみ、要約値の連鎖)",
                "indexes": [
                    models.Index(fields=["subject", "-number"], name="audit_by_subject"),
                    models.Index(fields=["kind", "-number"], name="audit_by_kind"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("number__gte", 1)), name="audit_number_from_1"
                    ),
                ],
            },
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
