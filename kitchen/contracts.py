"""What the kitchen can be asked, and what it answers."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from pizzahouse.messaging.messages import Command, Event

Code = Annotated[str, Meta(min_length=1, max_length=20)]


class DoPizza(Command, frozen=True):
    """Bake one pizza."""

    kitchen_order_id: UUID
    code: Code
    size: Code


class PizzaDone(Event, frozen=True):
    """It is out of the oven."""

    kitchen_order_id: UUID
