"""The kitchen at work."""

from django.conf import settings

from kitchen.contracts import DoPizza, PizzaDone
from kitchen.models import KitchenOrder
from pizzahouse.messaging.handling import After, correlation, handles
from pizzahouse.messaging.outbox import record

BAKING = 1.0  # seconds at pace 1


@handles(DoPizza)
def do_pizza(command: DoPizza) -> After:
    """The oven needs nobody to wait at it: that the pizza is done is put now, and due later."""
    pizza = command.kitchen_order_id
    record(KitchenOrder(id=pizza, visit=correlation(), code=command.code, size=command.size))
    return After(BAKING * settings.PIZZAHOUSE_PACE, PizzaDone(kitchen_order_id=pizza))
