"""Addresses of Explore."""

from django.urls import path

from teiten.portal.explore import views

urlpatterns = [
    path("", views.show_explore, name="explore"),
    path("packets/", views.show_packets, name="packets"),
    path("packet/", views.show_packet, name="packet"),
    path("export/", views.export_packets, name="export"),
    path("complete/", views.complete_query, name="complete"),
    path("find/", views.find, name="find"),
]
