"""Addresses of the source pages; the source is an address, or a prefix with its length."""

from django.urls import path

from teiten.portal.sources import views

urlpatterns = [path("<path:source>", views.show_source, name="source")]
