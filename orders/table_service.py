"""The scenario: one party at one table. Read it from top to bottom; it is the whole story."""

from typing import ClassVar

from django.db import models
from django_fsm import RETURN_VALUE
from msgspec import convert, to_builtins

from kitchen.contracts import DoPizza, PizzaDone
from menu.contracts import GetMenu, MenuGot
from orders.contracts import StartTableService, TableServiceStarted
from orders.pizzas import OrderedPizzas
from orders.saga import COMPLETED, NEW, Ignored, Saga, step
from waiter.contracts import (
    BillPaid,
    ClientThanked,
    MenuShown,
    Offer,
    OrderPlaced,
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
SERVING = "serving"
BILLING = "billing"
THANKING = "thanking"
CLOSED = "closed"


class TableService(Saga):
    """One party at one table: seated, fed, thanked."""

    outcomes: ClassVar[dict[str, str]] = {CLOSED: COMPLETED}

    wish = models.JSONField(default=list, blank=True)
    menu_shown = models.BooleanField(default=False)
    baking = models.PositiveIntegerField(default=0, help_text="Pizzas that are not done yet.")
    pizzas: OrderedPizzas

    class Meta(Saga.Meta):
        verbose_name = "table service"

    @step(on=StartTableService, source=NEW, target=STARTED)
    def start(self, command: StartTableService) -> None:
        self.table = command.table
        self.wish = to_builtins(command.wish)
        self.tell_self(TableServiceStarted(table=self.table))

    @step(on=TableServiceStarted, source=STARTED, target=GETTING_MENU)
    def get_menu(self, event: TableServiceStarted) -> None:
        self.send(GetMenu())

    @step(on=MenuGot, source=GETTING_MENU, target=RETURN_VALUE(SHOWING_MENU, ORDERING))
    def show_menu(self, event: MenuGot) -> str:
        menu = convert(event.menu, tuple[Offer, ...], from_attributes=True)
        if self.menu_shown:
            self._place_order(menu)
            return ORDERING
        self.send(ShowMenu(table=self.table, menu=menu))
        return SHOWING_MENU

    @step(on=MenuShown, source=SHOWING_MENU, target=ORDERING)
    def place_order(self, event: MenuShown) -> None:
        self.menu_shown = True
        self._place_order(event.menu)

    def _place_order(self, menu: tuple[Offer, ...]) -> None:
        wish = convert(self.wish, tuple[Wish, ...])
        self.send(PlaceOrder(table=self.table, menu=menu, wish=wish))

    @step(on=OrderPlaced, source=ORDERING, target=BAKING)
    def do_pizzas(self, event: OrderPlaced) -> None:
        pizzas = self.pizzas.order(event.lines)
        self.baking = len(pizzas)
        for pizza in pizzas:
            self.send(DoPizza(kitchen_order_id=pizza.id, code=pizza.code, size=pizza.size))

    @step(on=PizzaDone, source=BAKING, target=RETURN_VALUE(BAKING, SERVING))
    def collect_pizza(self, event: PizzaDone) -> str:
        if not self.pizzas.mark_done(event.kitchen_order_id):
            raise Ignored("this pizza was done before, or is not of this table")
        self.baking -= 1
        if self.baking:
            return BAKING
        self.send(ServePizzas(table=self.table, pizzas=self.pizzas.count()))
        return SERVING

    @step(on=PizzasServed, source=SERVING, target=BILLING)
    def show_bill(self, event: PizzasServed) -> None:
        self.send(ShowBill(table=self.table, bill=self.pizzas.bill()))

    @step(on=BillPaid, source=BILLING, target=THANKING)
    def thank_client(self, event: BillPaid) -> None:
        self.send(ThankClient(table=self.table))

    @step(on=ClientThanked, source=THANKING, target=CLOSED)
    def close(self, event: ClientThanked) -> None:
        """The end of the story."""
