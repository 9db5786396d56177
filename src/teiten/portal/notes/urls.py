"""Addresses of annotations and names."""

from django.urls import path

from teiten.portal.notes import views

urlpatterns = [
    path("notes/", views.show_notes, name="notes"),
    path("notes/add/", views.add_note, name="add-note"),
    path("notes/<int:number>/withdraw/", views.withdraw_note, name="withdraw-note"),
    path("names/<int:number>/withdraw/", views.withdraw_name, name="withdraw-name"),
    path("names/<slug:kind>/<path:value>", views.show_names, name="names"),
]
