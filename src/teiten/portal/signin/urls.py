"""Addresses of sign-in and of a person's own settings."""

from django.urls import path

from teiten.portal.signin import views

urlpatterns = [
    path("sign-in/", views.sign_in, name="sign-in"),
    path("sign-out/", views.sign_out, name="sign-out"),
    path("language/", views.switch_language, name="language"),
    path("me/password/", views.change_password, name="password"),
    path("me/", views.show_account, name="account"),
    path("me/sessions/end/", views.end_sessions, name="end-sessions"),
]
