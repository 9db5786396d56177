"""The Django app of the fleet's releases."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ReleasesAppConfig(AppConfig):
    name = "teiten.fleet.releases"
    label = "fleet_releases"
    verbose_name = _("Releases")
    default_auto_field = "django.db.models.BigAutoField"
