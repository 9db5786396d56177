"""The Django app of the datasets room."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DatasetsAppConfig(AppConfig):
    name = "teiten.datasets"
    label = "datasets"
    verbose_name = _("Datasets")
    default_auto_field = "django.db.models.BigAutoField"
