"""The Django app of the automation room."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AutomationAppConfig(AppConfig):
    name = "teiten.automation"
    label = "automation"
    verbose_name = _("Automation")
    default_auto_field = "django.db.models.BigAutoField"
