"""The web face, for gunicorn: `gunicorn pizzahouse.wsgi`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pizzahouse.settings")
application = get_wsgi_application()
