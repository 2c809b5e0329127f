"""What a visit has changed in the kitchen: its pizzas, and the stock."""

from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from django.db.models import Count, Exists, Max, OuterRef
from django.db.models.functions import Now
from django.urls import reverse

from kitchen.models import KitchenOrder, Stock
from pizzahouse.messaging.effects import Effect, effects, shortlist
from pizzahouse.messaging.models import OutboxMessage

Status = KitchenOrder.Status
GROUP = ("code", "size", "status", "in_the_oven")
Group = dict[str, Any]  # pizzas that are alike: their `GROUP`, how many, and when the last one was taken


@effects
def pizzas_and_stock(visit: UUID) -> Iterator[Effect]:
    """The pizzas that are alike are counted, and what each kind took from the stock."""
    groups = _groups(visit)
    url = f"{reverse('admin:kitchen_kitchenorder_changelist')}?visit={visit}"
    yield from shortlist([Effect("pizza", _pizzas(group), group["at"], url) for group in groups])
    yield from shortlist(list(_stock([group for group in groups if group["code"]])))


def _groups(visit: UUID) -> list[Group]:
    waiting = OutboxMessage.objects.filter(id=OuterRef("done_message"), sent_at=None, due_at__gt=Now())
    orders = KitchenOrder.objects.filter(visit=visit).annotate(in_the_oven=Exists(waiting))
    groups = orders.values(*GROUP).annotate(pizzas=Count("id"), at=Max("taken_at"))
    return list(groups.order_by(*GROUP))


def _pizzas(group: Group) -> str:
    pizza = f"{group['code']} {group['size']}".strip() or "pizza that was not ordered yet"
    return f"{group['pizzas']} x {pizza}: {_what_became(group)}"


def _what_became(group: Group) -> str:
    if group["status"] == Status.TAKEN:
        return "in the oven" if group["in_the_oven"] else "baked"
    return str(Status(group["status"]).label)


def _stock(groups: Iterable[Group]) -> Iterator[Effect]:
    """A pizza that was refused took nothing; one that was cancelled has given back what it took."""
    counts: dict[str, dict[str, int]] = {}
    for group in groups:
        counted = counts.setdefault(group["code"], dict.fromkeys(Status.values, 0))
        counted[group["status"]] += group["pizzas"]
    left = dict(Stock.objects.filter(code__in=counts).values_list("code", "left"))
    for code, counted in counts.items():
        taken = sum(counted.values()) - counted[Status.REFUSED]
        if taken and code in left:
            url = reverse("admin:kitchen_stock_change", args=[code])
            yield Effect("stock", f"{code}: {_movements(taken, counted)}; {left[code]} left now", url=url)


def _movements(taken: int, counted: dict[str, int]) -> str:
    moved = {
        "given back": counted[Status.CANCELLED],
        "burned": counted[Status.BURNED],
        "discarded": counted[Status.DISCARDED],
    }
    return ", ".join([f"{taken} taken", *(f"{number} {how}" for how, number in moved.items() if number)])
