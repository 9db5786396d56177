"""The Django app of the fleet room."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class FleetAppConfig(AppConfig):
    name = "teiten.fleet"
    label = "fleet"
    verbose_name = _("Fleet")
    default_auto_field = "django.db.models.BigAutoField"
