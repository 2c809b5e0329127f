"""The waiter at work."""

from django.conf import settings

from pizzahouse.messaging.handling import After, correlation, handles
from pizzahouse.messaging.outbox import record
from waiter import guest
from waiter.contracts import (
    BillPaid,
    ClientThanked,
    MenuShown,
    OrderPlaced,
    PizzasServed,
    PlaceOrder,
    ServePizzas,
    ShowBill,
    ShowMenu,
    ThankClient,
)
from waiter.models import Bill, Deed

CHOOSING = PAYING = 1.0  # seconds at pace 1


def _done(kind: Deed.Kind, table: str, pizzas: int = 0) -> None:
    record(Deed(kind=kind, table=table, visit=correlation(), pizzas=pizzas))


@handles(ShowMenu)
def show_menu(command: ShowMenu) -> MenuShown:
    _done(Deed.Kind.MENU_SHOWN, command.table)
    return MenuShown(table=command.table, menu=command.menu)


@handles(PlaceOrder)
def place_order(command: PlaceOrder) -> After:
    lines = guest.choose(command.menu, command.wish)
    _done(Deed.Kind.ORDER_TAKEN, command.table, sum(line.quantity for line in lines))
    placed = OrderPlaced(table=command.table, lines=lines)
    return After(CHOOSING * settings.PIZZAHOUSE_PACE, placed)


@handles(ServePizzas)
def serve_pizzas(command: ServePizzas) -> PizzasServed:
    _done(Deed.Kind.PIZZAS_SERVED, command.table, command.pizzas)
    return PizzasServed(table=command.table)


@handles(ShowBill)
def show_bill(command: ShowBill) -> After:
    record(Bill(table=command.table, visit=correlation(), amounts=command.bill))
    paid = BillPaid(table=command.table, bill=command.bill)
    return After(PAYING * settings.PIZZAHOUSE_PACE, paid)


@handles(ThankClient)
def thank_client(command: ThankClient) -> ClientThanked:
    _done(Deed.Kind.CLIENT_THANKED, command.table)
    return ClientThanked(table=command.table)
