"""What the automation did: one row for each run of a job."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class JobState(models.TextChoices):
    """How far a run is."""

    QUEUED = "queued", _("Queued")
    RUNNING = "running", _("Running")
    DONE = "done", _("Done")
    FAILED = "failed", _("Failed")
    LOST = "lost", _("Lost: its process ended")


class JobRun(models.Model):
    """One run of a job: asked for by a person, a command or the clock."""

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    job = models.CharField(_("job"), max_length=64, db_comment="仕事の名前")
    arguments = models.JSONField(_("arguments"), default=dict, db_comment="引数")
    requested_by = models.CharField(
        _("requested by"), max_length=64, db_comment="依頼者(利用者ID、command、clock)"
    )
    state = models.CharField(
        _("state"),
        max_length=16,
        choices=JobState.choices,
        default=JobState.QUEUED,
        db_comment="状態(queued, running, done, failed, lost)",
    )
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0, db_comment="開始した回数")
    requested_at = models.DateTimeField(_("requested at"), db_index=True, db_comment="依頼日時(UTC)")
    started_at = models.DateTimeField(_("started at"), null=True, db_comment="開始日時(UTC)")
    finished_at = models.DateTimeField(_("finished at"), null=True, db_comment="終了日時(UTC)")
    result = models.JSONField(_("result"), null=True, db_comment="結果")
    error = models.TextField(_("error"), blank=True, db_comment="失敗の理由")

    class Meta:
        verbose_name = _("job run")
        verbose_name_plural = _("job runs")
        db_table_comment = "自動処理の実行記録"
        indexes = (models.Index(fields=["job", "-id"], name="job_run_newest"),)
        constraints = (
            models.CheckConstraint(condition=Q(state__in=JobState.values), name="job_run_state_known"),
        )

    def __str__(self) -> str:
        return f"{self.id} {self.job}"
