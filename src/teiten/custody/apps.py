"""The Django app of the custody room."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class CustodyAppConfig(AppConfig):
    name = "teiten.custody"
    label = "custody"
    verbose_name = _("Custody")
    default_auto_field = "django.db.models.BigAutoField"
