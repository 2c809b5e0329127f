"""The kitchen at work. The oven needs nobody to wait at it: that a pizza is done is put at once, and due
later; while that message waits, the pizza can still be taken out unbaked."""

from functools import partial
from uuid import UUID

from kitchen import oven
from kitchen.contracts import (
    BURNED,
    SOLD_OUT,
    CancelPizza,
    DoPizza,
    PizzaCancelled,
    PizzaDone,
    PizzaRefused,
)
from kitchen.models import KitchenOrder, Stock
from pizzahouse.messaging import outbox
from pizzahouse.messaging.handling import Answer, correlation, handles
from pizzahouse.messaging.inbox import Outcome, Status

Baked = KitchenOrder.Status


def refuse_pizza(command: DoPizza) -> Answer:
    """There is nothing left to bake it with, or this very pizza is known: cancelled before it came."""
    known = KitchenOrder.objects.filter(id=command.kitchen_order_id).first()
    if known is not None:
        return Outcome(Status.IGNORED, detail=f"this pizza is {known.status} already; nothing is baked")
    outbox.record(_order(command, status=Baked.REFUSED))
    return PizzaRefused(command.kitchen_order_id, command.code, SOLD_OUT)


@handles(DoPizza, refused=refuse_pizza)
def do_pizza(command: DoPizza) -> None:
    """Takes one from the stock. The database refuses a known pizza, and less than nothing in stock."""
    oven.check(command.code)
    burned = oven.burns()
    answer = (
        PizzaRefused(command.kitchen_order_id, command.code, BURNED)
        if burned
        else PizzaDone(command.kitchen_order_id)
    )
    out_of_the_oven = outbox.put(answer, delay=oven.baking_seconds())
    status = Baked.BURNED if burned else Baked.TAKEN
    outbox.record(_order(command, status=status, done_message=out_of_the_oven))
    outbox.add(Stock, {"code": command.code}, left=-1)


def _order(command: DoPizza, *, status: Baked, done_message: UUID | None = None) -> KitchenOrder:
    order = partial(KitchenOrder, id=command.kitchen_order_id, visit=correlation())
    return order(code=command.code, size=command.size, status=status, done_message=done_message)


@handles(CancelPizza)
def cancel_pizza(command: CancelPizza) -> PizzaCancelled:
    """Gives back what was taken, unless the pizza is baked. One that was not ordered yet is remembered."""
    order, new = KitchenOrder.objects.select_for_update().get_or_create(
        id=command.kitchen_order_id, defaults={"visit": correlation(), "status": Baked.CANCELLED}
    )
    if not new and order.status in (Baked.TAKEN, Baked.BURNED):
        if order.done_message and outbox.take_back(order.done_message):
            order.status = Baked.CANCELLED
            outbox.add(Stock, {"code": order.code}, left=1)
        elif order.status == Baked.TAKEN:
            order.status = Baked.DISCARDED
        order.save(update_fields=["status"])
    return PizzaCancelled(command.kitchen_order_id, discarded=order.status == Baked.DISCARDED)
