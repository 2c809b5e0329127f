"""Where a payment service calls: `POST /waiter/bills/<id>/payments`. docs/payments.md tells the answers."""

from http import HTTPStatus
from uuid import UUID

import structlog
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from waiter import payments

log = structlog.get_logger(__name__)
MOST_BYTES = 16 * 1024
AWAY = "The database cannot take it now, and nothing is lost: send the same payment again, signed anew."


@csrf_exempt  # it is the signature that tells who calls
def pay(request: HttpRequest, bill: UUID) -> JsonResponse:
    """Take what a payment service tells of a bill. 201 the first time, 200 again; else an error, in words."""
    if request.method != "POST":
        error = f"{request.method} is not possible here. POST a payment."
        return _refuse(HTTPStatus.METHOD_NOT_ALLOWED, error, Allow="POST")
    try:
        body = _body(request)
        timestamp = request.headers.get("Pizzahouse-Timestamp", "")
        payments.verify(body, timestamp, request.headers.get("Pizzahouse-Signature", ""))
        notice = payments.read(body)
        first = payments.take(bill, notice)
    except payments.Refused as refused:
        return _refuse(refused.status, str(refused))
    except (OperationalError, InterfaceError) as error:
        log.warning("a payment could not be taken", bill=str(bill), error=str(error))
        return _refuse(HTTPStatus.SERVICE_UNAVAILABLE, AWAY)
    taken = {"bill": str(bill), "payment": notice.payment, "status": notice.status}
    return JsonResponse(taken, status=HTTPStatus.CREATED if first else HTTPStatus.OK)


def _refuse(status: HTTPStatus, error: str, **headers: str) -> JsonResponse:
    return JsonResponse({"error": error}, status=status, headers=headers)


def _body(request: HttpRequest) -> bytes:
    """The body, of which no more is read than a payment may have. Raises TooLarge, Unreadable."""
    length = request.headers.get("Content-Length", "")
    if length.isdecimal() and (len(length) > 10 or int(length) > MOST_BYTES):
        raise payments.TooLarge(f"it has {length} bytes, and {MOST_BYTES} are the most")
    # Without a length Django takes the body for empty; a server that ends a chunked one itself says so.
    chunked = not length and request.META.get("wsgi.input_terminated")
    try:
        body: bytes = (request.META["wsgi.input"] if chunked else request).read(MOST_BYTES + 1)
    except OSError as error:
        raise payments.Unreadable(f"it ended too early: {error}") from error
    if len(body) > MOST_BYTES:
        raise payments.TooLarge(f"{MOST_BYTES} bytes are the most")
    return body
