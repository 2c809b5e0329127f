"""The scenario: one party at one table. Read it from top to bottom; it is the whole story."""

from typing import Any, ClassVar

from django.db import models
from django_fsm import RETURN_VALUE
from msgspec import convert, to_builtins

from kitchen.contracts import SOLD_OUT, CancelPizza, DoPizza, PizzaCancelled, PizzaDone, PizzaRefused
from menu.contracts import GetMenu, MenuGot
from orders.contracts import Cancel, DeadlinePassed, Decide, StartTableService, TableServiceStarted
from orders.pizzas import OrderedPizzas, Status
from orders.saga import COMPLETED, Ignored, Saga
from orders.steps import NEW, hours, minutes, step
from pizzahouse.money import sums
from waiter.contracts import (
    Apologize,
    BillPaid,
    ClientApologized,
    ClientLeft,
    ClientThanked,
    MenuShown,
    Offer,
    OrderPlaced,
    PaymentDeclined,
    PizzasServed,
    PlaceOrder,
    ServePizzas,
    ShowBill,
    ShowMenu,
    ThankClient,
    Wish,
)

STARTED = "started"
GETTING_MENU = "getting_menu"
SHOWING_MENU = "showing_menu"
ORDERING = "ordering"
BAKING = "baking"
SERVING = "serving"  # the pivot: before it everything can be undone, after it nothing is
BILLING = "billing"
THANKING = "thanking"
CLOSED = "closed"
RECALLING = "recalling"
APOLOGIZING = "apologizing"
CALLED_OFF = "called_off"
NEEDS_MANAGER = "needs_manager"

NOTHING_ORDERED = (STARTED, GETTING_MENU, SHOWING_MENU, ORDERING)
MOST_ROUNDS = 2
MOST_DECLINES = 3


class TableService(Saga):
    """One party at one table: seated, fed, thanked."""

    outcomes: ClassVar[dict[str, str]] = {CLOSED: COMPLETED, CALLED_OFF: "called off"}
    for_humans: ClassVar[frozenset[str]] = frozenset({NEEDS_MANAGER})
    for_guests: ClassVar[frozenset[str]] = frozenset({ORDERING, BILLING})

    wish = models.JSONField(default=list, blank=True)
    in_person = models.BooleanField(default=False, help_text="The guests are human, and are asked.")
    menu_shown = models.BooleanField(default=False)
    round = models.PositiveSmallIntegerField(default=1, help_text="How often they have been asked to order.")
    sold_out = models.JSONField(default=list, blank=True, help_text="What the kitchen has run out of.")
    baking = models.PositiveIntegerField(default=0, help_text="Pizzas that are not settled yet.")
    declined = models.PositiveSmallIntegerField(default=0, help_text="How often the card was declined.")
    off_because = models.TextField(blank=True, help_text="Why it is being called off, if it is.")
    pizzas: OrderedPizzas

    class Meta(Saga.Meta):
        verbose_name = "table service"

    # --- The good evening -------------------------------------------------------------------------

    @step(on=StartTableService, source=NEW, target=STARTED, within=minutes(5))
    def start(self, command: StartTableService) -> None:
        self.table = command.table
        self.wish = to_builtins(command.wish)
        self.in_person = command.in_person
        self.tell_self(TableServiceStarted(table=self.table))

    @step(on=TableServiceStarted, source=STARTED, target=GETTING_MENU, within=minutes(5))
    def get_menu(self, event: TableServiceStarted) -> None:
        self.send(GetMenu())

    @step(on=MenuGot, source=GETTING_MENU, target=RETURN_VALUE(SHOWING_MENU, ORDERING), within=minutes(30))
    def show_menu(self, event: MenuGot) -> str:
        menu = convert(event.menu, tuple[Offer, ...], from_attributes=True)
        if self.menu_shown:
            self._place_order(menu)
            return ORDERING
        self.send(ShowMenu(table=self.table, menu=menu))
        return SHOWING_MENU

    @step(on=MenuShown, source=SHOWING_MENU, target=ORDERING, within=minutes(30))
    def place_order(self, event: MenuShown) -> None:
        self.menu_shown = True
        self._place_order(event.menu)

    def _place_order(self, menu: tuple[Offer, ...]) -> None:
        wish = convert(self.wish, tuple[Wish, ...])
        self.send(PlaceOrder(table=self.table, menu=menu, wish=wish, in_person=self.in_person))

    def recall_pizzas(self) -> None:
        self.withdraw(DoPizza)
        pizzas = self.pizzas.recall()
        self.baking = len(pizzas)
        for pizza in pizzas:
            self.send(CancelPizza(kitchen_order_id=pizza.id))

    @step(on=OrderPlaced, source=ORDERING, target=BAKING, within=minutes(30), compensation=recall_pizzas)
    def do_pizzas(self, event: OrderPlaced) -> None:
        pizzas = self.pizzas.order(event.lines)
        self.baking = len(pizzas)
        for pizza in pizzas:
            self.send(DoPizza(kitchen_order_id=pizza.id, code=pizza.code, size=pizza.size))

    @step(on=PizzaDone, source=BAKING, target=RETURN_VALUE(BAKING, SERVING), within=minutes(30))
    def collect_pizza(self, event: PizzaDone) -> str:
        if not self.pizzas.mark(event.kitchen_order_id, was=Status.ORDERED, now=Status.DONE):
            raise Ignored("this pizza was done before, or is not of this round")
        self.baking -= 1
        if self.baking:
            return BAKING
        self.send(ServePizzas(table=self.table, pizzas=self.pizzas.done().count()))
        return SERVING

    @step(on=PizzasServed, source=(SERVING, NEEDS_MANAGER), target=BILLING, within=hours(24))
    def show_bill(self, event: PizzasServed) -> None:
        self._show_bill()

    def _show_bill(self) -> None:
        self.send(ShowBill(table=self.table, bill=self.pizzas.bill(), in_person=self.in_person))

    @step(on=BillPaid, source=(BILLING, NEEDS_MANAGER), target=THANKING, within=minutes(30))
    def thank_client(self, event: BillPaid) -> None:
        self.send(ThankClient(table=self.table))

    @step(on=ClientThanked, source=(THANKING, NEEDS_MANAGER), target=CLOSED)
    def close(self, event: ClientThanked) -> None:
        """The end of the story."""

    # --- When it goes wrong, and nothing is served yet: it is undone ------------------------------

    @step(
        on=PizzaRefused,
        source=BAKING,
        target=RETURN_VALUE(RECALLING, GETTING_MENU, APOLOGIZING),
        within=minutes(30),
    )
    def recall_round(self, event: PizzaRefused) -> str:
        if not self.pizzas.mark(event.kitchen_order_id, was=Status.ORDERED, now=Status.REFUSED):
            raise Ignored("this pizza was settled before, or is not of this round")
        if event.reason == SOLD_OUT:
            self.sold_out = sorted({*self.sold_out, event.code})
        self.note(f"{event.code}: {event.reason}")
        self.compensate()
        return self._when_settled()

    @step(
        on=(PizzaCancelled, PizzaDone, PizzaRefused),
        source=RECALLING,
        target=RETURN_VALUE(RECALLING, GETTING_MENU, APOLOGIZING),
        within=minutes(30),
    )
    def settle_pizza(self, event: PizzaCancelled | PizzaDone | PizzaRefused) -> str:
        if not self.pizzas.mark(event.kitchen_order_id, was=Status.RECALLED, now=Status.CANCELLED):
            raise Ignored("this pizza was settled before, or is not of this round")
        self.baking -= 1
        return self._when_settled()

    def _when_settled(self) -> str:
        """Another round, unless there was one, or the guests leave anyway."""
        if self.baking:
            return RECALLING
        if self.off_because or self.round == MOST_ROUNDS:
            self.withdraw(GetMenu, ShowMenu, PlaceOrder)
            self.send(Apologize(table=self.table, reason=self.off_because or "the kitchen cannot make it"))
            return APOLOGIZING
        self.round += 1
        self.send(GetMenu(sold_out=tuple(self.sold_out)))
        return GETTING_MENU

    @step(on=ClientLeft, source=ORDERING, target=CALLED_OFF)
    def let_go(self, event: ClientLeft) -> None:
        self.off_because = "the guests left"

    @step(on=Cancel, source=NOTHING_ORDERED, target=APOLOGIZING, within=minutes(30))
    @step(
        on=Cancel, source=(BAKING, RECALLING), target=RETURN_VALUE(RECALLING, APOLOGIZING), within=minutes(30)
    )
    def cancel(self, command: Cancel) -> str:
        self.note(f"{command.by}: {command.reason}")
        return self._call_off(command.reason)

    @step(on=DeadlinePassed, source=NOTHING_ORDERED, target=APOLOGIZING, within=minutes(30))
    @step(on=DeadlinePassed, source=BAKING, target=RETURN_VALUE(RECALLING, APOLOGIZING), within=minutes(30))
    def give_up(self, event: DeadlinePassed) -> str:
        return self._call_off(f"nothing came of {event.state} in time")

    def _call_off(self, reason: str) -> str:
        self.off_because = reason
        self.compensate()
        return self._when_settled()

    @step(on=ClientApologized, source=APOLOGIZING, target=CALLED_OFF)
    def call_off(self, event: ClientApologized) -> None:
        """The end of a bad evening."""

    # --- When it goes wrong after that: it only goes forward, with a human's help -----------------

    @step(on=PaymentDeclined, source=BILLING, target=RETURN_VALUE(BILLING, NEEDS_MANAGER), within=hours(24))
    def ask_for_another_card(self, event: PaymentDeclined) -> str:
        self.declined += 1
        if self.declined >= MOST_DECLINES:
            return NEEDS_MANAGER
        self._show_bill()
        return BILLING

    @step(on=DeadlinePassed, source=(SERVING, BILLING, THANKING), target=NEEDS_MANAGER)
    def call_manager(self, event: DeadlinePassed) -> None:
        """It asked again, and nobody answered."""

    @step(
        on=Decide,
        source=NEEDS_MANAGER,
        target=RETURN_VALUE(SERVING, BILLING, THANKING),
        within=hours(24),
    )
    def go_on(self, command: Decide) -> str:
        self.note(f"{command.by}: {command.decision}: {command.reason}")
        if self.stopped_in == THANKING or (self.stopped_in == SERVING and command.decision == "retry"):
            self.ask_again(dead=True)
            return self.stopped_in
        if command.decision == "retry":
            self._show_bill()
            return BILLING
        self._write_off()
        self.send(ThankClient(table=self.table))
        return THANKING

    def _write_off(self) -> None:
        self.withdraw(ShowBill, why="it was written off")
        if self.stopped_in == SERVING and self.withdraw(ServePizzas, why="it was written off"):
            for pizza in self.pizzas.done():  # nobody eats them: the kitchen discards them
                self.send(CancelPizza(kitchen_order_id=pizza.id))

    @property
    def because(self) -> str:
        if self.state == NEEDS_MANAGER and self.stopped_in == BILLING and self.declined:
            return f"the payment was declined {'once' if self.declined == 1 else f'{self.declined} times'}"
        return self.off_because

    def figures(self) -> dict[str, Any]:
        return {"pizzas": self.pizzas.done().count(), "bill": sums(self.pizzas.bill())}
