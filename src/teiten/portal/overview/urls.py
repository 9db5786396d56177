"""Addresses of the overview."""

from django.urls import path

from teiten.portal.overview import views

urlpatterns = [path("", views.show_overview, name="overview")]
