"""The Django app of the fleet's alarms."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AlarmsAppConfig(AppConfig):
    name = "teiten.fleet.alarms"
    label = "fleet_alarms"
    verbose_name = _("Alarms")
    default_auto_field = "django.db.models.BigAutoField"
