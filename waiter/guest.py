"""The guests: what can be ordered from a menu, and what a simulated guest does."""

import random

from django.conf import settings

from waiter.contracts import MOST_PIZZAS, Offer, OrderLine, Wish

FAVOURITES = (Wish(2, "pmghr", "xl"), Wish(1, "proma", "xl"), Wish(2, "pamat", "xxl"))
CHOOSING = PAYING = 1.0  # seconds at pace 1


class NotOnTheMenu(Exception):
    """The guest wants something that is not on the menu, or sold out. Order what `serve_table` shows, or
    put it on the menu in the admin."""

    def __init__(self, wish: Wish, why: str = "is not on the menu") -> None:
        super().__init__(f"{wish.code} {wish.size} {why}")


def order(menu: tuple[Offer, ...], wish: tuple[Wish, ...]) -> tuple[OrderLine, ...]:
    """The wish with its prices. Raises NotOnTheMenu."""
    offers = {(offer.code, offer.size): offer for offer in menu}
    lines = []
    for each in wish:
        offer = offers.get((each.code, each.size))
        if offer is None:
            raise NotOnTheMenu(each)
        if offer.sold_out:
            raise NotOnTheMenu(each, "is sold out")
        line = OrderLine(each.quantity, each.code, each.size, offer.price, offer.currency)
        lines.append(line)
    return tuple(lines)


# --- The simulated guest --------------------------------------------------------------------------


def pause(seconds: float) -> float:
    """A guest's pause, at the pace of the house."""
    return seconds * float(settings.PIZZAHOUSE_PACE)


def _happens(mishap: str) -> bool:
    return random.random() < settings.PIZZAHOUSE_MISHAPS[mishap]  # noqa: S311


def leaves() -> bool:
    """Whether the guest walks out instead of ordering."""
    return _happens("left")


def declines() -> bool:
    """Whether the guest's card is declined."""
    return _happens("declined")


def choose(menu: tuple[Offer, ...], wish: tuple[Wish, ...]) -> tuple[OrderLine, ...]:
    """What the guest orders: the wish; without one the favourites that there are, else the first offer.
    Instead of what is sold out the same number of something else, in the same size if there is one;
    nothing where all is sold out. Raises NotOnTheMenu where a wish is not."""
    offers = {(offer.code, offer.size): offer for offer in menu}
    wanted = wish or tuple(each for each in FAVOURITES if (each.code, each.size) in offers)
    wanted = wanted or tuple(Wish(1, offer.code, offer.size) for offer in menu[:1])
    left = [offer for offer in menu if not offer.sold_out]
    if not left:
        return ()
    chosen: dict[tuple[str, str], int] = {}
    for each in wanted:
        offer = offers.get((each.code, each.size))
        if offer is not None and offer.sold_out:
            offer = next((other for other in left if other.size == each.size), left[0])
        kind = (offer.code, offer.size) if offer else (each.code, each.size)
        chosen[kind] = chosen.get(kind, 0) + each.quantity
    lines = tuple(
        Wish(min(quantity - first, MOST_PIZZAS), *kind)
        for kind, quantity in chosen.items()
        for first in range(0, quantity, MOST_PIZZAS)
    )
    return order(menu, lines)
