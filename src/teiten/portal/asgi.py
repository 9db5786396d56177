"""The portal as an ASGI application, for uvicorn; ``portal.boot.start_django`` comes first."""

from django.core.asgi import get_asgi_application

application = get_asgi_application()
