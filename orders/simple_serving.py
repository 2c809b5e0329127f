"""A second scenario with the same modules: guests who only order, pay and leave. No kitchen."""

from typing import Any, ClassVar

from django.db import models
from django_fsm import RETURN_VALUE
from msgspec import convert, to_builtins

from menu.contracts import GetMenu, MenuGot
from orders.contracts import Cancel, DeadlinePassed, Decide
from orders.saga import COMPLETED, Saga
from orders.steps import NEW, hours, minutes, step
from pizzahouse.messaging.messages import Command
from pizzahouse.money import sums
from waiter.contracts import (
    Apologize,
    BillPaid,
    ClientApologized,
    ClientLeft,
    ClientThanked,
    Offer,
    OrderPlaced,
    PaymentDeclined,
    PlaceOrder,
    ShowBill,
    TableName,
    ThankClient,
    Wish,
)

GETTING_MENU = "getting_menu"
ORDERING = "ordering"
BILLING = "billing"  # the pivot
THANKING = "thanking"
CLOSED = "closed"
APOLOGIZING = "apologizing"
CALLED_OFF = "called_off"
NEEDS_MANAGER = "needs_manager"


class StartSimpleServing(Command, frozen=True):
    """Serve somebody at the counter. Without a wish they choose from the menu."""

    table: TableName
    wish: tuple[Wish, ...] = ()


class SimpleServing(Saga):
    """Somebody at the counter: orders, pays, is thanked."""

    outcomes: ClassVar[dict[str, str]] = {CLOSED: COMPLETED, CALLED_OFF: "called off"}
    for_humans: ClassVar[frozenset[str]] = frozenset({NEEDS_MANAGER})
    for_guests: ClassVar[frozenset[str]] = frozenset({ORDERING, BILLING})

    wish = models.JSONField(default=list, blank=True)
    bill = models.JSONField(default=dict, blank=True, help_text="A sum per currency, in minor units.")

    class Meta(Saga.Meta):
        verbose_name = "simple serving"

    @step(on=StartSimpleServing, source=NEW, target=GETTING_MENU, within=minutes(5))
    def get_menu(self, command: StartSimpleServing) -> None:
        self.table = command.table
        self.wish = to_builtins(command.wish)
        self.send(GetMenu())

    @step(on=MenuGot, source=GETTING_MENU, target=ORDERING, within=minutes(30))
    def place_order(self, event: MenuGot) -> None:
        menu = convert(event.menu, tuple[Offer, ...], from_attributes=True)
        self.send(PlaceOrder(table=self.table, menu=menu, wish=convert(self.wish, tuple[Wish, ...])))

    @step(on=OrderPlaced, source=ORDERING, target=BILLING, within=hours(24))
    def show_bill(self, event: OrderPlaced) -> None:
        for line in event.lines:
            self.bill[line.currency] = self.bill.get(line.currency, 0) + line.quantity * line.price
        self.send(ShowBill(table=self.table, bill=self.bill))

    @step(on=BillPaid, source=(BILLING, NEEDS_MANAGER), target=THANKING, within=minutes(30))
    def thank_client(self, event: BillPaid) -> None:
        self.send(ThankClient(table=self.table))

    @step(on=ClientThanked, source=(THANKING, NEEDS_MANAGER), target=CLOSED)
    def close(self, event: ClientThanked) -> None:
        """The end of the story."""

    # --- When it goes wrong -----------------------------------------------------------------------

    @step(on=ClientLeft, source=ORDERING, target=CALLED_OFF)
    def let_go(self, event: ClientLeft) -> None:
        """Nothing was ordered."""

    @step(
        on=(Cancel, DeadlinePassed), source=(GETTING_MENU, ORDERING), target=APOLOGIZING, within=minutes(30)
    )
    def call_off(self, message: Cancel | DeadlinePassed) -> None:
        self.withdraw(GetMenu, PlaceOrder)
        reason = message.reason if isinstance(message, Cancel) else "it took too long"
        self.note(f"{message.by}: {reason}" if isinstance(message, Cancel) else reason)
        self.send(Apologize(table=self.table, reason=reason))

    @step(on=ClientApologized, source=APOLOGIZING, target=CALLED_OFF)
    def see_off(self, event: ClientApologized) -> None:
        """The end of a bad evening."""

    @step(on=(PaymentDeclined, DeadlinePassed), source=BILLING, target=NEEDS_MANAGER)
    @step(on=DeadlinePassed, source=THANKING, target=NEEDS_MANAGER)
    def call_manager(self, event: PaymentDeclined | DeadlinePassed) -> None:
        """Only a human can tell how to go on."""

    @step(on=Decide, source=NEEDS_MANAGER, target=RETURN_VALUE(BILLING, THANKING), within=hours(24))
    def go_on(self, command: Decide) -> str:
        self.note(f"{command.by}: {command.decision}: {command.reason}")
        if self.stopped_in == THANKING:
            self.ask_again(dead=True)
            return THANKING
        if command.decision == "retry":
            self.send(ShowBill(table=self.table, bill=self.bill))
            return BILLING
        self.withdraw(ShowBill, why="it was written off")
        self.send(ThankClient(table=self.table))
        return THANKING

    def figures(self) -> dict[str, Any]:
        return {"bill": sums(self.bill)}
