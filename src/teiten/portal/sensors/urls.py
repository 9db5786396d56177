"""Addresses of the sensors' screen."""

from django.urls import path

from teiten.portal.sensors import acts, views

urlpatterns = [
    path("", views.show_sensors, name="sensors"),
    path("<int:sensor>/", views.show_sensor, name="sensor"),
    path("<int:sensor>/<slug:action>/", acts.act_on_sensor, name="act-on-sensor"),
]
