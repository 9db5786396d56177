"""Django's settings, made from Teiten's own (``portal.config``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.utils.translation import gettext_lazy as _
from psycopg.conninfo import conninfo_to_dict

from teiten.portal import config
from teiten.portal.static_files import stamp_of

_ROOM = Path(__file__).parent
_active = config.current()
_portal, _site = _active.portal, _active.site

#: Rules of sign-in, for the accounts app.
TEITEN_ACCOUNTS = _active.accounts
#: Rules of the fleet, for its selectors and jobs.
TEITEN_FLEET = _active.fleet

SECRET_KEY = _active.secret_key
DEBUG = _portal.debug
ALLOWED_HOSTS = list(_portal.hosts)
ROOT_URLCONF = "teiten.portal.urls"
ASGI_APPLICATION = "teiten.portal.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
#: ``cli`` sets logging up through ``foundation.logs``.
LOGGING_CONFIG = None

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "procrastinate.contrib.django",
    "ninja",
    "teiten.accounts",
    "teiten.fleet",
    "teiten.fleet.rollouts",
    "teiten.fleet.commands",
    "teiten.fleet.releases",
    "teiten.fleet.alarms",
    "teiten.fleet.canary",
    "teiten.datasets",
    "teiten.custody",
    "teiten.automation",
    "teiten.portal",
]

MIDDLEWARE = [
    "teiten.portal.middleware.security_headers",
    "django.middleware.security.SecurityMiddleware",
    "teiten.portal.static_files.StampedFiles",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "teiten.portal.middleware.session_limits",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "teiten.portal.middleware.AccessMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [_ROOM / "templates"],
        "APP_DIRS": False,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.csrf",
                "django.template.context_processors.i18n",
                "django.template.context_processors.tz",
                "django.contrib.auth.context_processors.auth",
            ],
            "loaders": [
                "django.template.loaders.filesystem.Loader",
                "django.template.loaders.app_directories.Loader",
            ]
            if DEBUG
            else [
                (
                    "django.template.loaders.cached.Loader",
                    [
                        "django.template.loaders.filesystem.Loader",
                        "django.template.loaders.app_directories.Loader",
                    ],
                )
            ],
        },
    }
]


def database_settings(url: str | None, max_connections: int) -> dict[str, Any]:
    """Turn a PostgreSQL URL into Django's form; without one, connecting fails, importing does not.

    Connections come from a pool: under ASGI a thread lives as long as a request,
    so connections kept by thread would never be used again.
    """
    parts = {key: str(value) for key, value in conninfo_to_dict(url or "dbname=teiten").items()}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.pop("dbname", "postgres"),
        "USER": parts.pop("user", ""),
        "PASSWORD": parts.pop("password", ""),
        "HOST": parts.pop("host", ""),
        "PORT": parts.pop("port", ""),
        "CONN_MAX_AGE": 0,
        # After a restart of the server, the pool must not hand out its dead connections.
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            **parts,
            # A pool keeps trying in the background, which only makes sense where there is a server;
            # it waits ever longer, so it gives up soon and tries anew with the next request.
            "pool": {"min_size": 1, "max_size": max_connections, "timeout": 10, "reconnect_timeout": 5}
            if url
            else False,
            "application_name": "teiten",
        },
    }


DATABASES = {"default": database_settings(_active.database.url, _portal.database_connections)}

# People and sessions.
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["teiten.accounts.backend.UserBackend"]
PASSWORD_HASHERS = ["teiten.accounts.hashers.BoundedArgon2Hasher"]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("user_id", "display_name")},
    },
]
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "sign-in"
SESSION_ENGINE = "teiten.accounts.sessions"
SESSION_COOKIE_AGE = TEITEN_ACCOUNTS.session_absolute_hours * 3600
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "teiten.portal.refusals.csrf_failed"
# A browser keeps ``__Host-`` names for https alone, so the plain demo on loopback has others.
_prefix = "__Host-" if _portal.https else ""
SESSION_COOKIE_NAME = f"{_prefix}teiten-session"
CSRF_COOKIE_NAME = f"{_prefix}teiten-csrf"
LANGUAGE_COOKIE_NAME = f"{_prefix}teiten-language"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = _portal.https
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_AGE = 365 * 86_400

# What goes to the browser beside the page. The content policy is in ``portal.middleware``.
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = 31_536_000 if _portal.https else 0
if _portal.https:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_048_576

# Language and time.
USE_I18N = True
USE_TZ = True
TIME_ZONE = _site.zone
LANGUAGE_CODE = _site.language
LANGUAGES = [("ja", _("Japanese")), ("en", _("English"))]
LOCALE_PATHS = [_ROOM / "locale"]

# Static files: every URL carries a stamp of all of them, so each may be kept for ever.
STATIC_URL = f"/static/{stamp_of(_ROOM / 'static')}/"
STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.AppDirectoriesFinder"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
WHITENOISE_ALLOW_ALL_ORIGINS = False

# Jobs: the portal only asks for them; the worker has a queue of its own (automation.worker).
PROCRASTINATE_AUTODISCOVER_MODULE_NAME = ""
