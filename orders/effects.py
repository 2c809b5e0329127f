"""What a process knows of itself: its pizzas, and its figures, such as the bill as it stands."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.db.models import Count

from orders.pizzas import OrderedPizza, Status
from orders.saga import find
from pizzahouse.messaging.effects import Effect, effects, shortlist
from pizzahouse.money import in_words

ALIKE = ("code", "size", "price", "currency", "status")


@effects
def pizzas(saga_id: UUID) -> list[Effect]:
    """Those that are alike are counted."""
    groups = OrderedPizza.objects.filter(saga_id=saga_id).values(*ALIKE)
    return shortlist(
        [Effect("pizza", _pizzas(**group)) for group in groups.annotate(number=Count("id")).order_by(*ALIKE)]
    )


def _pizzas(*, number: int, code: str, size: str, price: int, currency: str, status: str) -> str:
    return f"{number} x {code} {size} at {in_words(price, currency)}: {Status(status).label.lower()}"


@effects
def figures(saga_id: UUID) -> Iterator[Effect]:
    """What its scenario wants told of it besides."""
    saga = find(saga_id)
    for name, value in (saga.figures() if saga else {}).items():
        yield Effect("figure", f"{name}: {_value(value)}")


def _value(value: Any) -> str:
    """A sum per currency, or a plain value."""
    if isinstance(value, dict):
        return " and ".join(f"{amount} {unit}" for unit, amount in value.items()) or "nothing"
    return str(value)
