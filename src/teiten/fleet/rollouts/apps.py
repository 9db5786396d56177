"""The Django app of the fleet's roll-outs."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RolloutsAppConfig(AppConfig):
    name = "teiten.fleet.rollouts"
    label = "fleet_rollouts"
    verbose_name = _("Roll-outs")
    default_auto_field = "django.db.models.BigAutoField"
