"""What a payment service may tell, what it is answered, and what comes of it."""

import hmac
import json
import re
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.checks import run_checks
from django.db import transaction
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import reverse
from pytest_django import Settings

from orders.contracts import Decide, StartTableService
from orders.table_service import BILLING, CLOSED, NEEDS_MANAGER, TableService
from pizzahouse.messaging import outbox
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from pizzahouse.messaging.testing import deliver, hand, letters, sent
from tests.unit.postoffice import travelling
from waiter import payments, views
from waiter.contracts import BillPaid, PaymentDeclined, ShowBill
from waiter.models import Bill, Payment, Till

pytestmark = pytest.mark.django_db

SECRET = "a secret of the tests"
VISIT = UUID(int=5)
EUR = {"EUR": 12400}
FOR_EVER = "9" * 5000


@pytest.fixture(autouse=True)
def _remote(settings: Settings) -> None:
    settings.PIZZAHOUSE_PAYMENT = "remote"
    settings.PIZZAHOUSE_PAYMENT_SECRET = SECRET


def show(amounts: dict[str, int] | None = None, visit: UUID = VISIT) -> Bill:
    """Have a bill shown, as a saga would; shown again, where the visit has one."""
    command = ShowBill("TBL1", amounts or EUR)
    with transaction.atomic():
        message_id = outbox.put(command, saga=visit, reply_to="orders.table_service")
    hand(travelling(message_id))
    return Bill.objects.get(visit=visit)


def notice(payment: Any = "psp-1", *, bill: Any = "", **fields: Any) -> bytes:
    """A body, of the bill that was made last, unless another is given. What is None is left out."""
    if bill == "":
        bill = Bill.objects.order_by("shown_at").values_list("pk", flat=True).last() or VISIT
    said = {"bill": bill and str(bill), "payment": payment, "amounts": EUR} | fields
    return json.dumps({name: value for name, value in said.items() if value is not None}).encode()


def signed(body: bytes, timestamp: object = None, secret: str = SECRET) -> dict[str, str]:
    """The headers of a body; the timestamp is now's, unless given."""
    timestamp = str(int(time.time()) if timestamp is None else timestamp)
    signature = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, "sha256").hexdigest()
    return {"Pizzahouse-Timestamp": timestamp, "Pizzahouse-Signature": signature}


def address(bill: UUID) -> str:
    return reverse("bill-payments", args=[bill])


def call(bill: UUID, body: bytes, headers: dict[str, str] | None = None) -> HttpResponse:
    """A call, as it is signed unless these headers say otherwise."""
    headers = signed(body) if headers is None else headers
    strict = Client(enforce_csrf_checks=True)
    return strict.post(address(bill), body, "application/json", headers=headers)


def refused(response: HttpResponse) -> tuple[int, str]:
    """The status and the reason."""
    said = json.loads(response.content)
    assert said.keys() == {"error"}
    return response.status_code, said["error"]


def tell(bill: Bill, payment: str = "psp-1", status: str = "paid") -> int:
    """Tell of a payment of this bill; returns the answer's status."""
    return call(bill.pk, notice(payment, bill=bill.pk, amounts=bill.amounts, status=status)).status_code


def till() -> dict[str, int]:
    return dict(Till.objects.values_list("currency", "amount"))


def nothing_changed(bill: Bill) -> bool:
    """Whether the bill is as it was, and nothing else is there."""
    known = Bill.objects.values().get(pk=bill.pk)
    answers = OutboxMessage.objects.filter(type__in=["BillPaid", "PaymentDeclined"])
    return (
        (known["asks"], known["paid_at"]) == (bill.asks, bill.paid_at)
        and not Payment.objects.exists()
        and not answers.exists()
        and not any(till().values())
    )


# --- What is taken --------------------------------------------------------------------------------


def test_a_payment_settles_the_bill_and_answers_whoever_had_it_shown() -> None:
    bill = show({"EUR": 12400, "CHF": 1})
    [asked] = letters("ShowBill")

    response = call(bill.pk, notice("psp-1", amounts={"CHF": 1, "EUR": 12400}))

    assert response.status_code == 201
    assert json.loads(response.content) == {"bill": str(bill.pk), "payment": "psp-1", "status": "paid"}
    settled = Bill.objects.get(pk=bill.pk)
    assert (settled.asks, settled.paid_at is not None) == (False, True)
    assert till() == {"EUR": 12400, "CHF": 1}
    assert list(Payment.objects.values_list("id", "bill", "accepted")) == [("psp-1", bill.pk, True)]
    assert sent("BillPaid") == [BillPaid("TBL1", {"EUR": 12400, "CHF": 1})]
    [event] = [each.envelope for each in letters("BillPaid")]
    assert (event.saga, event.destination) == (VISIT, "orders.table_service")
    assert event.causation == asked.envelope.message_id


def test_a_declined_card_leaves_the_bill_open_and_the_till_empty() -> None:
    bill = show()

    response = call(bill.pk, notice(status="declined"))

    assert response.status_code == 201
    assert json.loads(response.content)["status"] == "declined"
    open_bill = Bill.objects.get(pk=bill.pk)
    assert (open_bill.asks, open_bill.paid_at) == (False, None)
    assert till() == {}
    assert sent("PaymentDeclined") == [PaymentDeclined("TBL1", EUR)]
    assert letters("PaymentDeclined")[0].envelope.saga == VISIT


def test_what_is_not_said_is_paid() -> None:
    bill = show()
    assert call(bill.pk, notice(status=None)).status_code == 201
    assert sent("BillPaid") == [BillPaid("TBL1", EUR)]


@pytest.mark.parametrize(
    "payment", ["x", "x" * 100, "ü" * 100, "🍕", "a b/c?d=%00", "'; --", "\\u0000"], ids=ascii
)
def test_a_payment_service_names_its_payments_as_it_likes(payment: str) -> None:
    bill = show()
    assert tell(bill, payment) == 201
    assert tell(bill, payment) == 200
    assert Payment.objects.get().pk == payment


def test_a_bill_that_was_declined_is_paid_before_it_is_shown_again() -> None:
    bill = show()
    assert tell(bill, "psp-1", "declined") == 201
    assert tell(bill, "psp-2") == 201
    assert till() == EUR
    assert show().asks is False  # it comes too late, and is not asked for again


def test_a_bill_that_is_shown_again_is_answered_to_whoever_showed_it_last() -> None:
    bill = show()
    assert tell(bill, "psp-1", "declined") == 201
    assert show().asks is True
    assert tell(bill, "psp-2") == 201
    assert letters("BillPaid")[0].envelope.causation == letters("ShowBill")[-1].envelope.message_id


# --- What is told again ---------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["paid", "declined"])
def test_a_payment_that_is_told_again_changes_nothing(status: str) -> None:
    bill = show()
    first = call(bill.pk, notice(status=status))
    settled = Bill.objects.values().get(pk=bill.pk)
    for _ in range(3):
        again = call(bill.pk, notice(status=status))
        assert (again.status_code, again.content) == (200, first.content)
    assert Bill.objects.values().get(pk=bill.pk) == settled
    assert Payment.objects.count() == len(sent("BillPaid") + sent("PaymentDeclined")) == 1


def test_a_declined_card_is_told_again_after_the_bill_was_paid() -> None:
    bill = show()
    for payment, status in (("psp-1", "declined"), ("psp-2", "paid")):
        assert tell(bill, payment, status) == 201
    for payment, status in (("psp-1", "declined"), ("psp-2", "paid")):
        assert tell(bill, payment, status) == 200
    assert till() == EUR


def test_a_payment_that_is_told_with_another_status_is_refused() -> None:
    bill = show()
    assert tell(bill, "psp-1", "declined") == 201
    status, reason = refused(call(bill.pk, notice("psp-1")))
    assert status == 409
    assert f"'psp-1': declined, of bill {bill.pk}" in reason
    assert till() == {}


def test_a_payment_is_of_one_bill() -> None:
    mine, yours = show(), show(visit=uuid4())
    assert tell(mine) == 201
    status, reason = refused(call(yours.pk, notice("psp-1")))
    assert status == 409
    assert f"of bill {mine.pk}" in reason
    assert Bill.objects.get(pk=yours.pk).paid_at is None


def test_a_bill_is_paid_once_and_the_next_is_told_by_which_payment() -> None:
    bill = show()
    assert tell(bill, "psp-1", "declined") == 201
    assert tell(bill, "psp-2") == 201
    for status in ("paid", "declined"):
        assert refused(call(bill.pk, notice("psp-3", status=status))) == (
            409,
            "The bill is paid already. If this payment took money, give it back. (by payment 'psp-2')",
        )
    assert till() == EUR
    assert not Payment.objects.filter(pk="psp-3").exists()


def test_a_bill_that_was_paid_at_the_table_is_paid(settings: Settings) -> None:
    bill = show()
    assert tell(bill, "psp-1", "declined") == 201
    settings.PIZZAHOUSE_PAYMENT = "simulated"
    show()
    status, reason = refused(call(bill.pk, notice("psp-2")))
    assert (status, "at the table" in reason) == (409, True)
    assert till() == EUR


# --- What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete", "options"])
def test_only_a_post_pays(method: str) -> None:
    bill = show()
    response = getattr(Client(), method)(address(bill.pk), headers=signed(b""))
    assert refused(response)[0] == 405
    assert response.headers["Allow"] == "POST"
    assert nothing_changed(bill)


UNSIGNED: dict[str, Callable[[], dict[str, str]]] = {
    "no headers": dict,
    "no signature": lambda: {"Pizzahouse-Timestamp": str(int(time.time()))},
    "an empty signature": lambda: signed(notice()) | {"Pizzahouse-Signature": ""},
    "no hex": lambda: signed(notice()) | {"Pizzahouse-Signature": "ü\udcff" * 32},
    "another secret": lambda: signed(notice(), secret="another"),
    "another body": lambda: signed(notice("psp-2")),
    "another time": lambda: signed(notice()) | {"Pizzahouse-Timestamp": str(int(time.time()) + 5)},
    "half a signature": lambda: (
        signed(notice()) | {"Pizzahouse-Signature": signed(notice())["Pizzahouse-Signature"][:32]}
    ),
}


@pytest.mark.parametrize("headers", UNSIGNED.values(), ids=UNSIGNED)
def test_who_does_not_sign_pays_nothing(headers: Callable[[], dict[str, str]]) -> None:
    bill = show()
    status, reason = refused(call(bill.pk, notice(), headers()))
    assert status == 401
    assert "Pizzahouse-" in reason
    assert nothing_changed(bill)


ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
TIMES = ["", "now", "0", "-{now}", " {now}", "+{now}", "{now}.0", "{now:_}", "{now:x}", "1e9", "9" * 5000]


@pytest.mark.parametrize("spelt", [*TIMES, "arabic"], ids=lambda spelt: spelt[:12])
def test_a_time_is_a_whole_number_of_seconds(spelt: str) -> None:
    bill, now = show(), int(time.time())
    timestamp = str(now).translate(ARABIC) if spelt == "arabic" else spelt.format(now=now)
    status, reason = refused(call(bill.pk, notice(), signed(notice(), timestamp)))
    assert (status, "Pizzahouse-Timestamp" in reason) == (401, True)
    assert nothing_changed(bill)


@pytest.mark.parametrize(("off", "answer"), [(-310, 401), (-290, 201), (290, 201), (310, 401)], ids=str)
def test_a_signature_is_good_for_five_minutes_either_way(off: int, answer: int) -> None:
    bill, body = show(), notice()
    assert call(bill.pk, body, signed(body, int(time.time()) + off)).status_code == answer


def test_a_signature_may_be_in_capitals() -> None:
    bill, body = show(), notice()
    headers = {name: value.upper() for name, value in signed(body).items()}
    assert call(bill.pk, body, headers).status_code == 201


@pytest.mark.parametrize("secret", ["", SECRET])
def test_without_a_configured_secret_every_signature_is_wrong(secret: str, settings: Settings) -> None:
    settings.PIZZAHOUSE_PAYMENT_SECRET = ""
    bill, body = show(), notice()
    status, reason = refused(call(bill.pk, body, signed(body, secret=secret)))
    assert (status, "no PIZZAHOUSE_PAYMENT_SECRET" in reason) == (401, True)
    assert nothing_changed(bill)


def test_signatures_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[object, object]] = []
    compare = hmac.compare_digest

    def watched(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return compare(a, b)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    bill, body = show(), notice()
    headers = signed(body)
    wrong = headers | {"Pizzahouse-Signature": "0" * 64}
    right = headers["Pizzahouse-Signature"].encode()
    assert [call(bill.pk, body, each).status_code for each in (wrong, headers)] == [401, 201]
    assert compared == [(right, b"0" * 64), (right, right)]


of_a_bill = partial(notice, bill=VISIT)
NONSENSE: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"psp-1 paid 124 EUR",
    "invalid UTF-8": b"\xff\xfe",
    "invalid UTF-8 in a text": b'{"payment": "\xff", "amounts": {"EUR": 12400}}',
    "half a surrogate": b'{"payment": "\\ud800", "amounts": {"EUR": 12400}}',
    "a list": b"[]",
    "null": b"null",
    "half of it": of_a_bill()[:-5],
    "more behind it": of_a_bill() + b"{}",
    "no bill": notice(bill=None),
    "a bill that is no id": notice(bill="TBL1"),
    "no payment": of_a_bill(payment=None),
    "an empty id": of_a_bill(""),
    "a long id": of_a_bill("x" * 101),
    "an id with NUL": of_a_bill("psp\0"),
    "an id of two lines": of_a_bill("psp\n"),
    "an id with DEL": of_a_bill("psp\x7f"),
    "an id with a C1 control": of_a_bill("psp\x85"),
    "a number for an id": of_a_bill(payment=1),
    "no amounts": of_a_bill(amounts=None),
    "amounts in a list": of_a_bill(amounts=[12400]),
    "a text for an amount": of_a_bill(amounts={"EUR": "12400"}),
    "a fraction": of_a_bill(amounts={"EUR": 124.5}),
    "true": of_a_bill(amounts={"EUR": True}),
    "a negative amount": of_a_bill(amounts={"EUR": -1}),
    "a huge number": b'{"payment": "psp-1", "amounts": {"EUR": %s}}' % (b"9" * 9000),
    "an infinite number": b'{"payment": "psp-1", "amounts": {"EUR": 1e999}}',
    "not a number": b'{"payment": "psp-1", "amounts": {"EUR": NaN}}',
    "no currency": of_a_bill(amounts={"euro": 12400}),
    "a currency with NUL": of_a_bill(amounts={"EU\0": 12400}),
    "another status": of_a_bill(status="pending"),
    "another field": of_a_bill(tip=100),
    "a field with NUL": of_a_bill(**{"\0": 1}),
    "deep lists": b"[" * 16_000,
    "deep objects": b'{"payment":' * 1400,
    "deep amounts": b'{"payment": "psp-1", "amounts": ' + b'{"EUR":' * 2000 + b"1" + b"}" * 2001,
}


@pytest.mark.parametrize("body", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_told_from_a_payment(body: bytes) -> None:
    bill = show()
    status, reason = refused(call(bill.pk, body))
    assert status == 400
    assert "not a payment in JSON" in reason
    assert nothing_changed(bill)


def test_nobody_reads_what_is_not_signed() -> None:
    assert refused(call(uuid4(), b"[" * 16_000, {}))[0] == 401


def test_what_is_signed_for_one_bill_pays_no_other() -> None:
    paid, other = show(), show(visit=uuid4())
    body = notice(bill=paid.pk)
    headers = signed(body)
    assert call(paid.pk, body, headers).status_code == 201
    for overheard in (body, notice("psp-2", bill=paid.pk)):
        status, reason = refused(call(other.pk, overheard))
        assert status == 422
        assert str(paid.pk) in reason
    assert Bill.objects.get(pk=other.pk).paid_at is None
    assert till() == {"EUR": 12400}


def test_a_bill_that_is_not_there_is_not_paid() -> None:
    status, reason = refused(call(VISIT, notice()))
    assert status == 404
    assert str(VISIT) in reason
    assert Client().post("/waiter/bills/nonsense/payments").status_code == 404


@pytest.mark.parametrize(
    "amounts",
    [{"EUR": 12399}, {"EUR": 12401}, {"EUR": 0}, {"CHF": 12400}, {}, {"EUR": 12400, "CHF": 0}],
    ids=str,
)
def test_a_bill_is_paid_exactly(amounts: dict[str, int]) -> None:
    bill = show()
    for status in ("paid", "declined"):
        answer, reason = refused(call(bill.pk, notice(amounts=amounts, status=status)))
        assert answer == 422
        assert "it is 12400 EUR, not" in reason
    assert nothing_changed(bill)


def test_a_card_is_declined_where_somebody_is_asked_to_pay() -> None:
    bill = show()
    assert tell(bill, "psp-1", "declined") == 201
    status, reason = refused(call(bill.pk, notice("psp-2", status="declined")))
    assert (status, "shown again" in reason) == (409, True)
    assert len(sent("PaymentDeclined")) == Payment.objects.count() == 1
    show()
    assert tell(bill, "psp-2", "declined") == 201


@pytest.mark.parametrize(
    "reply",
    [
        None,
        {},
        {"message_id": str(VISIT), "type": "ShowBill", "destination": "waiter"},
        {"message_id": str(VISIT), "type": "ShowBill", "destination": "waiter", "reply_to": "orders.gone"},
    ],
    ids=["made by hand", "unreadable", "asked by nobody", "asked by what is gone"],
)
def test_a_bill_that_nobody_waits_for_is_not_paid(reply: dict[str, str] | None) -> None:
    bill = Bill.objects.create(table="TBL1", amounts=EUR, asks=True, reply=reply)
    for status in ("paid", "declined"):
        answer, reason = refused(call(bill.pk, notice(status=status)))
        assert (answer, "Nobody waits" in reason) == (409, True)
    assert nothing_changed(bill)


# --- How much is read -----------------------------------------------------------------------------


def test_a_body_of_16_kib_is_read_and_no_more() -> None:
    bill = show()
    assert call(bill.pk, notice().ljust(16 * 1024)).status_code == 201
    status, reason = refused(call(bill.pk, notice().ljust(16 * 1024 + 1)))
    assert (status, "16384" in reason) == (413, True)


class Stream(BytesIO):
    """A body that counts what is read of it."""

    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        read = super().read(size)
        self.taken += len(read)
        return read


def call_streaming(bill: UUID, stream: BytesIO, headers: dict[str, str], **environ: Any) -> HttpResponse:
    """A call whose body comes from this stream."""
    request = RequestFactory().post(address(bill), headers=headers)
    request.META.pop("CONTENT_LENGTH", None)
    request.META |= {"wsgi.input": stream} | environ
    return views.pay(type(request)(request.META), bill)


@pytest.mark.parametrize("length", ["16385", "1" + "0" * 100, FOR_EVER], ids=len)
def test_what_says_that_it_is_too_large_is_not_read(length: str) -> None:
    stream = Stream(b"x" * 20_000)
    response = call_streaming(VISIT, stream, {}, CONTENT_LENGTH=length)
    assert (refused(response)[0], stream.taken) == (413, 0)


@pytest.mark.parametrize("length", ["", "-1", "nonsense", "٣", "1.5"])
def test_a_length_that_is_none_has_nothing_read(length: str) -> None:
    stream = Stream(b"x" * 20_000)
    response = call_streaming(VISIT, stream, signed(b"x" * 20_000), CONTENT_LENGTH=length)
    assert (refused(response)[0], stream.taken <= 16 * 1024 + 1) == (401, True)


def test_of_a_body_without_a_length_no_more_is_read_than_a_payment_may_have() -> None:
    bill, body = show(), notice()
    chunked = {"wsgi.input_terminated": True}
    stream = Stream(b"x" * 1_000_000)
    assert refused(call_streaming(bill.pk, stream, {}, **chunked))[0] == 413
    assert stream.taken == 16 * 1024 + 1
    assert call_streaming(bill.pk, BytesIO(body), signed(body), **chunked).status_code == 201


def test_a_body_that_breaks_off_is_refused() -> None:
    class Broken(BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError("the line is dead")

    status, reason = refused(call_streaming(VISIT, Broken(), {}, CONTENT_LENGTH="10"))
    assert (status, "the line is dead" in reason) == (400, True)


# --- The table's service goes on ------------------------------------------------------------------


def seat() -> tuple[UUID, Bill]:
    """A table that waits for its bill to be paid."""
    with transaction.atomic():
        saga = TableService.begin(StartTableService(table="TBL1"))
    deliver(later=True)
    assert state_of(saga) == BILLING
    return saga, Bill.objects.get(visit=saga)


def state_of(saga: UUID) -> str:
    return TableService.objects.get(pk=saga).state


def test_a_table_that_waits_for_its_payment_closes_with_it() -> None:
    saga, bill = seat()
    assert tell(bill) == 201
    deliver(later=True, twice=True)
    assert state_of(saga) == CLOSED
    assert not InboxMessage.objects.exclude(status__in=["done", "ignored"]).exists()
    assert tell(bill) == 200
    assert refused(call(bill.pk, notice("psp-2")))[0] == 409
    assert till() == EUR


def test_a_declined_card_has_the_bill_shown_again() -> None:
    saga, bill = seat()
    assert tell(bill, "psp-1", "declined") == 201
    deliver(later=True)
    shown = Bill.objects.get(pk=bill.pk)
    assert (shown.asks, shown.shown, state_of(saga)) == (True, 2, BILLING)
    assert tell(bill, "psp-2") == 201
    deliver(later=True)
    assert state_of(saga) == CLOSED


def test_a_payment_overtakes_the_bill_that_is_shown_again() -> None:
    saga, bill = seat()
    assert tell(bill, "psp-1", "declined") == 201
    assert tell(bill, "psp-2") == 201
    deliver(later=True)
    assert state_of(saga) == CLOSED
    assert till() == EUR


def call_manager_by_declining(bill: Bill) -> None:
    for number in range(3):
        assert tell(bill, f"declined-{number}", "declined") == 201
        deliver(later=True)


def call_manager_by_waiting(bill: Bill) -> None:
    deliver(later=timedelta(hours=49))  # its day passed, and the day after it was asked again


@pytest.mark.parametrize("call_manager", [call_manager_by_declining, call_manager_by_waiting])
def test_a_table_that_waits_for_the_manager_takes_a_late_payment(call_manager: Any) -> None:
    saga, bill = seat()
    call_manager(bill)
    assert state_of(saga) == NEEDS_MANAGER
    assert tell(bill, "late") == 201
    deliver(later=True)
    assert state_of(saga) == CLOSED
    assert till() == EUR


def test_a_payment_after_the_manager_wrote_the_bill_off_is_in_the_till() -> None:
    saga, bill = seat()
    call_manager_by_declining(bill)
    with transaction.atomic():
        outbox.put(Decide("write off", by="anna", reason="enough"), to=TableService.address(), saga=saga)
    deliver(later=True)
    assert state_of(saga) == CLOSED
    assert tell(bill, "late") == 201
    deliver(later=True)
    assert till() == EUR
    assert InboxMessage.objects.get(type="BillPaid").status == "ignored"


# --- The configuration and the page ---------------------------------------------------------------


def found() -> list[Any]:
    return [each for each in run_checks() if each.id == "waiter.E001"]


@pytest.mark.parametrize(
    ("payment", "secret", "errors"),
    [
        ("remote", "", 1),
        ("remote", "x" * 15, 1),
        ("remote", "x" * 16, 0),
        ("simulated", "", 0),
        ("simulated", "x", 1),
    ],
)
def test_a_secret_that_can_be_guessed_is_refused(
    payment: str, secret: str, errors: int, settings: Settings
) -> None:
    settings.PIZZAHOUSE_PAYMENT, settings.PIZZAHOUSE_PAYMENT_SECRET = payment, secret
    assert len(found()) == errors
    assert all("openssl rand" in each.hint for each in found())


def test_the_page_tells_every_answer() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "payments.md").read_text()
    told = {int(status) for status in re.findall(r"^\| (\d{3}) \|", page, re.MULTILINE)}
    refusals = {int(each.status) for each in payments.Refused.__subclasses__()}
    assert told == refusals | {200, 201, 405, 503}
