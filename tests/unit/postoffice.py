"""A post office: a module that does what a test tells it, to try the kernel without a restaurant."""

from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

import pytest
from django.apps import apps
from django.db import transaction
from msgspec import Meta

from pizzahouse.messaging import outbox, relay
from pizzahouse.messaging.envelope import Letter
from pizzahouse.messaging.handling import handles
from pizzahouse.messaging.messages import Command, Event, Message
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from pizzahouse.messaging.testing import hand
from waiter.models import Deed

OFFICE, SENDER = "tests", "tests.sender"

# A commit is one, for all threads. Only these apps are emptied afterwards: that is fast, and the menu stays.
committed = pytest.mark.django_db(
    transaction=True, available_apps=["pizzahouse.messaging", "orders", "waiter", "kitchen"]
)


class SendParcel(Command, frozen=True):
    """Take a parcel."""

    weight: Annotated[int, Meta(ge=1, le=100)] = 1
    note: str = ""


class ParcelSent(Event, frozen=True):
    """It is on its way."""

    note: str = ""


class Counter:
    """What happens when a parcel, or word of one, comes in; a test decides, `refill` forgets it."""

    def __init__(self) -> None:
        self.refill()

    def refill(self) -> None:
        self.on_parcel: Callable[[SendParcel], Any] = lambda command: None
        self.on_word: Callable[[ParcelSent], Any] = lambda event: None


counter = Counter()


@handles(SendParcel)
def send_parcel(command: SendParcel) -> Any:
    """As the test says."""
    return counter.on_parcel(command)


@handles(ParcelSent, at=SENDER)
def parcel_sent(event: ParcelSent) -> Any:
    """As the test says."""
    return counter.on_word(event)


def post(message: Message | None = None, **options: Any) -> Letter:
    """Put a message, a parcel unless said otherwise, as its sender; returns it as it travels."""
    options = {"reply_to": SENDER} | options
    with transaction.atomic():
        message_id = outbox.put(message or SendParcel(), **options)
    return travelling(message_id)


def travelling(message_id: UUID) -> Letter:
    """The message of this id."""
    return relay.letter_of(OutboxMessage.objects.get(pk=message_id))


def redeliver(letter: Letter) -> None:
    """Deliver it as a broker does that has delivered it before."""
    hand(letter, redelivered=True)


def claim(letter: Letter) -> InboxMessage:
    """What came of it."""
    return InboxMessage.objects.get(message_id=letter.envelope.message_id)


def leave_a_trace(note: str = "") -> None:
    """An effect that can be counted."""
    Deed.objects.create(kind=Deed.Kind.PIZZAS_SERVED, table=note or "parcel")


def traces() -> int:
    """How often it was left."""
    return Deed.objects.count()


def tables() -> dict[str, list[dict[str, Any]]]:
    """All rows that there are."""
    models = [model for model in apps.get_models() if model._meta.managed]
    return {each._meta.db_table: list(each._base_manager.order_by("pk").values()) for each in models}
