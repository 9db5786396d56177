"""Why somebody looked at payload; appended, never changed."""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from teiten.accounts.models import User

#: One reason opens payload for at most this long.
LONGEST = timedelta(minutes=60)
#: Characters of the shortest reason.
SHORTEST_REASON = 10


class PayloadReason(models.Model):
    """A stated reason that opens payload for one person until ``until_at``."""

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    user = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        related_name="payload_reasons",
        verbose_name=_("user"),
        db_comment="閲覧する利用者",
    )
    reason = models.TextField(_("reason"), db_comment="閲覧の理由(10文字以上)")
    at = models.DateTimeField(_("at"), db_comment="開始日時(UTC)")
    until_at = models.DateTimeField(_("until"), db_comment="期限(UTC)。開始から60分以内")

    class Meta:
        verbose_name = _("reason to see payload")
        verbose_name_plural = _("reasons to see payload")
        db_table_comment = "ペイロード閲覧の理由(追記のみ)"
        indexes = (models.Index(fields=["user", "-until_at"], name="payload_reason_newest"),)
        constraints = (
            models.CheckConstraint(
                condition=Q(until_at__gt=F("at")) & Q(until_at__lte=F("at") + LONGEST),
                name="payload_reason_at_most_60_min",
            ),
            models.CheckConstraint(
                condition=Q(reason__regex=rf"^.{{{SHORTEST_REASON},}}"), name="payload_reason_is_told"
            ),
        )

    def __str__(self) -> str:
        return f"{self.pk} {self.user_id}"
