"""What the kitchen can be asked, and what it answers."""

from typing import Annotated, Final, Literal
from uuid import UUID

from msgspec import Meta

from pizzahouse.messaging.messages import Command, Event

Code = Annotated[str, Meta(min_length=1, max_length=20)]
SOLD_OUT: Final = "sold out"
BURNED: Final = "burned"


class DoPizza(Command, frozen=True):
    """Bake one pizza."""

    kitchen_order_id: UUID
    code: Code
    size: Code


class PizzaDone(Event, frozen=True):
    """It is out of the oven."""

    kitchen_order_id: UUID


class PizzaRefused(Event, frozen=True):
    """There will be no such pizza."""

    kitchen_order_id: UUID
    code: Code
    reason: Literal["sold out", "burned"]


class CancelPizza(Command, frozen=True):
    """Nobody wants this pizza any more. It undoes a `DoPizza`, whichever of the two comes first."""

    kitchen_order_id: UUID


class PizzaCancelled(Event, frozen=True):
    """It will not be served. Discarded: it was baked already."""

    kitchen_order_id: UUID
    discarded: bool
