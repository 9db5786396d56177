"""Addresses of the API."""

from __future__ import annotations

from django.urls import path

from teiten.portal.api.errors import refuse_path
from teiten.portal.api.routes import api

urlpatterns = [path("v1/", api.urls), path("<path:rest>", refuse_path)]
