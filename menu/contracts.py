"""What the menu can be asked, and what it answers."""

import msgspec

from pizzahouse.messaging.messages import Command, Event


class Offer(msgspec.Struct, frozen=True):
    """One line of the menu. The price is in minor units of its currency (1400 EUR: 14.00 euros)."""

    code: str
    name: str
    size: str
    price: int
    currency: str
    sold_out: bool = False


class GetMenu(Command, frozen=True):
    """What is there to eat? The codes of what the kitchen has just run out of are marked."""

    sold_out: tuple[str, ...] = ()


class MenuGot(Event, frozen=True):
    """The menu of the moment."""

    menu: tuple[Offer, ...]
