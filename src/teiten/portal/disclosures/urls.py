"""Addresses of the disclosure log."""

from django.urls import path

from teiten.portal.disclosures import views

urlpatterns = [path("", views.show_disclosures, name="disclosures")]
