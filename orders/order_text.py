"""An order as it is typed: "2 x pmghr xl, 1 x proma xl"."""

import re
from collections.abc import Iterable
from typing import Protocol

from waiter.contracts import MOST_PIZZAS, Wish

_WORD = r"([A-Za-z0-9]{1,20})"
_LINE = re.compile(rf"\s*(\d+)(?:\s*x)?\s+(?!x\s){_WORD}\s+{_WORD}\s*", re.ASCII)
_MOST_LINES = 50


class UnreadableOrder(ValueError):
    """The order cannot be read."""


class NotOnTheMenu(ValueError):
    """The order asks for what there is not."""


def parse(text: str) -> tuple[Wish, ...]:
    """What was typed as wishes. Raises UnreadableOrder."""
    lines = text.split(",")
    if len(lines) > _MOST_LINES:
        raise UnreadableOrder(f"An order has at most {_MOST_LINES} lines, not {len(lines)}.")
    return tuple(_parse_line(line) for line in lines)


def _parse_line(line: str) -> Wish:
    match = _LINE.fullmatch(line)
    if match is None:
        raise UnreadableOrder(
            f"{line.strip()!r} is not an order; write it like this: 2 x pmghr xl, 1 x proma xl"
        )
    digits, code, size = match.groups()
    quantity = int(digits[:10])
    if not 1 <= quantity <= MOST_PIZZAS:
        raise UnreadableOrder(f"{digits} x {code} {size}: order from 1 to {MOST_PIZZAS} of a kind.")
    return Wish(quantity, code.lower(), size.lower())


class AnOffer(Protocol):
    """A line of the menu, whoever shows it."""

    @property
    def code(self) -> str: ...
    @property
    def size(self) -> str: ...
    @property
    def sold_out(self) -> bool: ...


def check(wishes: tuple[Wish, ...], menu: Iterable[AnOffer]) -> None:
    """Raises NotOnTheMenu, naming what there is."""
    offers = {(offer.code, offer.size) for offer in menu if not offer.sold_out}
    for wish in wishes:
        if (wish.code, wish.size) not in offers:
            there_is = ", ".join(f"{code} {size}" for code, size in sorted(offers)) or "nothing"
            raise NotOnTheMenu(f"The menu has no {wish.code} {wish.size}; it has {there_is}.")
