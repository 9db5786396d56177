"""The portal as an ASGI application, for uvicorn; ``portal.boot.start_django`` comes first."""

from django.core.asgi import get_asgi_application

from teiten.portal.bodies import bounded

_django = get_asgi_application()

from teiten.portal.large_bodies import most_bytes_of  # noqa: E402  # needs Django's models

application = bounded(_django, allowance=most_bytes_of)
