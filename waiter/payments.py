"""Remote payments: a payment service tells, signed, that a bill was paid or a card declined. It may tell so
whenever it likes, and again; each payment is taken once, and passed on to whoever had the bill shown."""

import hmac
import re
import time
from hashlib import sha256
from http import HTTPStatus
from typing import Annotated, ClassVar, Literal
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import transaction
from msgspec import Meta, convert

from pizzahouse.messaging import outbox
from pizzahouse.messaging.envelope import Envelope
from pizzahouse.messaging.errors import MessagingError, UnknownDestination
from waiter import bills
from waiter.contracts import Currency, Sum
from waiter.models import Bill, Payment

WINDOW_SECONDS = 300  # how far a call's clock may be from ours, either way
PaymentId = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f-\x9f]*\Z")]


class Notice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the payment service tells of a bill. It names the bill, so that the signature covers it: what was
    told of one bill cannot be told again of another."""

    bill: UUID
    payment: PaymentId  # the service's own id
    amounts: dict[Currency, Sum]  # in minor units; those of the bill
    status: Literal["paid", "declined"] = "paid"

    @property
    def paid(self) -> bool:
        """Whether there is money."""
        return self.status == "paid"


class Refused(MessagingError):
    """This call cannot be taken, and nothing was changed."""

    status: ClassVar[HTTPStatus]


class TooLarge(Refused):
    """The body is larger than any payment. Send only what docs/payments.md shows."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class WrongSignature(Refused):
    """The call is not signed as it must be. Sign the timestamp, a dot and the body with the secret that both
    sides know, anew for each call; docs/payments.md shows how."""

    status = HTTPStatus.UNAUTHORIZED


class Unreadable(Refused):
    """The body is not a payment in JSON. Correct what is named here and send it again."""

    status = HTTPStatus.BAD_REQUEST


class WrongBill(Refused):
    """The body is of another bill than the address. Call the address of the bill that it names."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class UnknownBill(Refused):
    """There is no such bill. Look up its id among the waiter's bills in the admin."""

    status = HTTPStatus.NOT_FOUND


class WrongAmount(Refused):
    """The bill is for another amount. Pay exactly what it says, in minor units, each currency."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class UsedPayment(Refused):
    """A payment of this id was told before, of another bill or with another status. Give each payment an id
    of its own."""

    status = HTTPStatus.CONFLICT


class AlreadyPaid(Refused):
    """The bill is paid already. If this payment took money, give it back."""

    status = HTTPStatus.CONFLICT


class NotAsked(Refused):
    """Nobody is asked to pay this bill now, so no card can be declined. Wait until it is shown again; a
    payment can come at any time."""

    status = HTTPStatus.CONFLICT


class NobodyWaits(Refused):
    """Nobody waits for the payment of this bill: no process had it shown. Settle it by hand; if this payment
    took money, give it back."""

    status = HTTPStatus.CONFLICT


# --- Is it the payment service that calls? --------------------------------------------------------


def verify(body: bytes, timestamp: str, signature: str) -> None:
    """Check a call's signature: the HMAC-SHA256 of "<timestamp>.<body>" in hex, its time in Unix seconds.
    Raises WrongSignature; always, where no secret is configured."""
    secret = settings.PIZZAHOUSE_PAYMENT_SECRET.encode()
    if not secret:
        raise WrongSignature("this house has no PIZZAHOUSE_PAYMENT_SECRET")
    if not re.fullmatch(r"[0-9]{1,12}", timestamp):
        raise WrongSignature("Pizzahouse-Timestamp is no whole number of Unix seconds")
    right = hmac.new(secret, timestamp.encode() + b"." + body, sha256).hexdigest()
    if not hmac.compare_digest(right.encode(), signature.lower().encode(errors="replace")):
        raise WrongSignature("Pizzahouse-Signature is not that of this body and timestamp")
    if abs(time.time() - int(timestamp)) > WINDOW_SECONDS:
        raise WrongSignature(f"Pizzahouse-Timestamp is more than {WINDOW_SECONDS} s from this house's clock")


def read(body: bytes) -> Notice:
    """What a body tells. Raises Unreadable."""
    try:
        return msgspec.json.decode(body, type=Notice)
    except (ValueError, RecursionError) as error:  # msgspec's errors and UnicodeDecodeError are ValueErrors
        raise Unreadable(str(error)) from error


# --- Taking it ------------------------------------------------------------------------------------


@transaction.atomic
def take(bill_id: UUID, notice: Notice) -> bool:
    """Settle a bill as the payment service tells; returns False where it told so before. Calls for one bill
    wait for each other. Raises what is Refused; nothing is changed then."""
    bill = Bill.objects.select_for_update().filter(pk=bill_id).first()
    if bill is None:
        raise UnknownBill(str(bill_id))
    if notice.bill != bill_id:
        raise WrongBill(f"{notice.bill}, not {bill_id}")
    if notice.amounts != bill.amounts:
        raise WrongAmount(f"it is {_in_words(bill.amounts)}, not {_in_words(notice.amounts)}")
    # Of two bills that are told the same payment at once, the database lets one have it.
    payment, first = Payment.objects.get_or_create(
        pk=notice.payment, defaults={"bill": bill, "accepted": notice.paid}
    )
    if not first:
        _check_same(payment, bill, notice)
        return False
    _check_open(bill, notice)
    event = bills.settle(bill, pays=notice.paid)
    bill.save()
    try:
        outbox.put(event, cause=convert(bill.reply, Envelope))
    except (msgspec.ValidationError, UnknownDestination) as error:
        raise NobodyWaits(str(bill_id)) from error
    return True


def _check_same(payment: Payment, bill: Bill, notice: Notice) -> None:
    if (payment.bill_id, payment.accepted) != (bill.pk, notice.paid):
        was = "paid" if payment.accepted else "declined"
        raise UsedPayment(f"{payment.pk!r}: {was}, of bill {payment.bill_id}")


def _check_open(bill: Bill, notice: Notice) -> None:
    if bill.paid_at is not None:
        payment = bill.payments.filter(accepted=True).exclude(pk=notice.payment).first()
        raise AlreadyPaid(f"by payment {payment.pk!r}" if payment else "at the table")
    if not notice.paid and not bill.asks:
        raise NotAsked(str(bill.pk))


def _in_words(amounts: dict[str, int]) -> str:
    return ", ".join(f"{amount} {currency}" for currency, amount in sorted(amounts.items())) or "nothing"
