"""The simulated guest: likes what is on the menu, and pays."""

from waiter.contracts import Offer, OrderLine, Wish

FAVOURITES = (Wish(2, "pmghr", "xl"), Wish(1, "proma", "xl"), Wish(2, "pamat", "xxl"))


class NotOnTheMenu(Exception):
    """The guest wants something that is not on the menu. Order what `serve_table` shows, or put it on the
    menu in the admin."""

    def __init__(self, wish: Wish) -> None:
        super().__init__(f"{wish.code} {wish.size} is not on the menu")


def choose(menu: tuple[Offer, ...], wish: tuple[Wish, ...]) -> tuple[OrderLine, ...]:
    """What the guest orders: the wish; without one the favourites that there are, else the first offer.
    Raises NotOnTheMenu where a wish is not."""
    offers = {(offer.code, offer.size): offer for offer in menu}
    wanted = wish or tuple(each for each in FAVOURITES if (each.code, each.size) in offers)
    wanted = wanted or tuple(Wish(1, offer.code, offer.size) for offer in menu[:1])
    lines = []
    for each in wanted:
        offer = offers.get((each.code, each.size))
        if offer is None:
            raise NotOnTheMenu(each)
        line = OrderLine(each.quantity, each.code, each.size, offer.price, offer.currency)
        lines.append(line)
    return tuple(lines)
