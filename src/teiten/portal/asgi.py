"""The portal as an ASGI application, for uvicorn; ``portal.boot.start_django`` comes first."""

from django.core.asgi import get_asgi_application

from teiten.portal.bodies import bounded

application = bounded(get_asgi_application())
