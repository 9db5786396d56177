"""Addresses of live mode."""

from django.urls import path

from teiten.portal.live import views

urlpatterns = [
    path("", views.show_live, name="live"),
    path("feed/", views.show_feed, name="live-feed"),
]
