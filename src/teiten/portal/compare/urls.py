"""Addresses of the comparison of sensors."""

from django.urls import path

from teiten.portal.compare import views

urlpatterns = [path("", views.show_comparison, name="compare")]
