"""How far a long change of stored data is."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class WorkState(models.TextChoices):
    """State of an erasure or an exclusion; a job moves it on, and begins again what was cut off."""

    REQUESTED = "requested", _("Requested")
    RUNNING = "running", _("Running")
    DONE = "done", _("Done")
    FAILED = "failed", _("Failed")


#: The job takes these up, also after a crash.
UNFINISHED = (WorkState.REQUESTED, WorkState.RUNNING)
