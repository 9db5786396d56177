"""Addresses of the values' pages: one for each kind of value."""

from django.urls import path

from teiten.portal.naming.kinds import KINDS
from teiten.portal.values import views

urlpatterns = [
    path(f"{kind.name}/<path:key>", views.show_value, {"kind_name": kind.name}, name=kind.name)
    for kind in KINDS
]
