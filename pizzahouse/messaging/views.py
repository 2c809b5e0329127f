"""`GET /metrics`, for Prometheus. docs/observability.md tells what is on it, and who may see it."""

import os
from http import HTTPStatus

from django.conf import settings
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, REGISTRY, generate_latest

from pizzahouse.messaging import figures
from pizzahouse.messaging.exposition import FOLDER, knows_token, of_processes

CLOSED = (
    "Metrics are shown to whoever sends the header `Authorization: Bearer TOKEN`, TOKEN being the value of\n"
    "PIZZAHOUSE_METRICS_TOKEN, and in a browser to those who are logged in and may view messages.\n"
)


def metrics(request: HttpRequest) -> HttpResponse:
    """What this process, or the processes that count together with it, have counted, and what the database
    knows."""
    if not _may_see(request):
        headers = {"WWW-Authenticate": "Bearer"}
        return HttpResponse(CLOSED, "text/plain", HTTPStatus.UNAUTHORIZED, headers=headers)
    folder = os.environ.get(FOLDER)
    counted = of_processes(folder) if folder else generate_latest(REGISTRY)
    return HttpResponse(counted + generate_latest(figures.registry), CONTENT_TYPE_PLAIN_0_0_4)


def _may_see(request: HttpRequest) -> bool:
    """The address it comes from proves nothing: behind a proxy of this machine everybody is 127.0.0.1."""
    if settings.DEBUG or knows_token(request.headers.get("Authorization", "")):
        return True
    try:
        return request.user.is_staff and request.user.has_perm("messaging.view_outboxmessage")
    except DatabaseError:  # it knows who is logged in
        return False
