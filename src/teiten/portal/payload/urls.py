"""Address of the form by which a person states why they look at payload."""

from django.urls import path

from teiten.portal.payload import views

urlpatterns = [path("me/payload/", views.state_reason, name="payload-reason")]
