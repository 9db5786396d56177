"""Addresses of the sensors' screen."""

from django.urls import path

from teiten.portal.sensors import acts, cancelling, views

urlpatterns = [
    path("", views.show_sensors, name="sensors"),
    path("<int:sensor>/", views.show_sensor, name="sensor"),
    path(
        "<int:sensor>/maintenance/<int:number>/cancel/",
        cancelling.cancel_maintenance,
        name="cancel-maintenance",
    ),
    path("<int:sensor>/<slug:action>/", acts.act_on_sensor, name="act-on-sensor"),
]
