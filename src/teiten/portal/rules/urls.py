"""Addresses of the rules."""

from django.urls import path

from teiten.portal.rules import views

urlpatterns = [
    path("", views.show_rules, name="rules"),
    path("surveys/<str:name>/", views.show_survey_list, name="survey-list"),
]
