"""The Django app of the portal: templates, static files, translations; no models."""

from django.apps import AppConfig


class PortalAppConfig(AppConfig):
    name = "teiten.portal"
    label = "portal"
