"""The Django app of the fleet's canary."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class CanaryAppConfig(AppConfig):
    name = "teiten.fleet.canary"
    label = "fleet_canary"
    verbose_name = _("Canary")
    default_auto_field = "django.db.models.BigAutoField"
