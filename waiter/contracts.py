"""What the waiter can be asked, and what he answers. Prices are in minor units of their currency."""

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from pizzahouse.messaging.messages import Command, Event

TableName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,20}\Z")]
Code = Annotated[str, Meta(min_length=1, max_length=20)]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")]
Price = Annotated[int, Meta(ge=0, le=100_000_000)]
Sum = Annotated[int, Meta(ge=0, le=10**15)]
MOST_PIZZAS = 1000  # of one kind, in one order
Quantity = Annotated[int, Meta(ge=1, le=MOST_PIZZAS)]


class Offer(msgspec.Struct, frozen=True):
    """A line of the menu, as the guest sees it."""

    code: Code
    name: str
    size: Code
    price: Price
    currency: Currency
    sold_out: bool = False


class Wish(msgspec.Struct, frozen=True):
    """What a guest would like."""

    quantity: Quantity
    code: Code
    size: Code


class OrderLine(msgspec.Struct, frozen=True):
    """What was ordered, and what one of it costs."""

    quantity: Quantity
    code: Code
    size: Code
    price: Price
    currency: Currency


class ShowMenu(Command, frozen=True):
    """Bring the menu to the table."""

    table: TableName
    menu: tuple[Offer, ...]


class MenuShown(Event, frozen=True):
    """The guests have it."""

    table: TableName
    menu: tuple[Offer, ...]


class PlaceOrder(Command, frozen=True):
    """Ask the guests what they want from this menu. With no wish a simulated guest chooses; in person: the
    guest is a human, and the question waits for the answer."""

    table: TableName
    menu: tuple[Offer, ...]
    wish: tuple[Wish, ...] = ()
    in_person: bool = False


class OrderPlaced(Event, frozen=True):
    """They have ordered."""

    table: TableName
    lines: Annotated[tuple[OrderLine, ...], Meta(min_length=1)]


class ClientLeft(Event, frozen=True):
    """They have left without ordering."""

    table: TableName


class ServePizzas(Command, frozen=True):
    """Bring so many pizzas to the table."""

    table: TableName
    pizzas: int


class PizzasServed(Event, frozen=True):
    """Buon appetito."""

    table: TableName


class ShowBill(Command, frozen=True):
    """Bring the bill: a sum per currency. A visit has one; asked again, it is shown again. In person: a
    human pays it, or does not."""

    table: TableName
    bill: dict[Currency, Sum]
    in_person: bool = False


class BillPaid(Event, frozen=True):
    """They have paid."""

    table: TableName
    bill: dict[Currency, Sum]


class PaymentDeclined(Event, frozen=True):
    """Their card was declined; the bill is open."""

    table: TableName
    bill: dict[Currency, Sum]


class ThankClient(Command, frozen=True):
    """Thank the guests and see them to the door."""

    table: TableName


class ClientThanked(Event, frozen=True):
    """They have left, content."""

    table: TableName


class Apologize(Command, frozen=True):
    """Tell the guests that there will be nothing to eat, and why."""

    table: TableName
    reason: str


class ClientApologized(Event, frozen=True):
    """They have left, hungry."""

    table: TableName


# --- What a guest says, through whatever front end ------------------------------------------------


class GetQuestion(Command, frozen=True):
    """What is this visit's guest asked at the moment?"""

    visit: UUID


class OrderQuestion(msgspec.Struct, frozen=True):
    """What would you like?"""

    id: UUID
    menu: tuple[Offer, ...]


class BillQuestion(msgspec.Struct, frozen=True):
    """Would you like to pay?"""

    id: UUID
    bill: dict[Currency, Sum]


class QuestionGot(Event, frozen=True):
    """The guest is asked for an order, or to pay, or nothing."""

    order: OrderQuestion | None = None
    bill: BillQuestion | None = None


class TakeOrder(Command, frozen=True):
    """The guest's answer to an `OrderQuestion`; with no wish they leave. It becomes `OrderPlaced` or
    `ClientLeft`."""

    question: UUID
    wish: tuple[Wish, ...] = ()


class TakePayment(Command, frozen=True):
    """The guest's answer to a `BillQuestion`. It becomes `BillPaid` or `PaymentDeclined`."""

    bill: UUID
    pays: bool
