"""An order as it is typed, and amounts as they are read."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from menu.contracts import Offer
from orders.contracts import StartTableService
from orders.order_text import NotOnTheMenu, UnreadableOrder, check, parse
from pizzahouse.messaging.messages import encode
from pizzahouse.money import decimal, in_words
from waiter.contracts import Wish

MENU = (Offer("pmghr", "Pizza Margherita", "xl", 1400, "EUR"),)


@pytest.mark.parametrize(
    ("text", "wishes"),
    [
        ("2 x pmghr xl", [Wish(2, "pmghr", "xl")]),
        ("2 x pmghr xl, 1 x proma xl", [Wish(2, "pmghr", "xl"), Wish(1, "proma", "xl")]),
        ("2 pmghr xl", [Wish(2, "pmghr", "xl")]),
        ("  2x  PMGHR\tXL ", [Wish(2, "pmghr", "xl")]),
        ("1000 x pmghr xl", [Wish(1000, "pmghr", "xl")]),
    ],
)
def test_an_order_is_read(text: str, wishes: list[Wish]) -> None:
    assert list(parse(text)) == wishes


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ",", "pmghr", "pmghr xl", "2 x pmghr", "2 x pmghr xl,", "0 x pmghr xl", "-1 x pmghr xl"),
        *("1001 x pmghr xl", "1000000 x pmghr xl", f"{'9' * 5000} x pmghr xl", "1.5 x pmghr xl"),
        *("2 x pmghr xl; 1 x proma xl", "two x pmghr xl", "٣ x pmghr xl", "2 x pm-ghr xl", "2 x \0 xl"),
        *(f"1 x {'p' * 21} xl", ", ".join(["1 x pmghr xl"] * 51)),
    ],
)
def test_an_order_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(UnreadableOrder):
        parse(text)


@given(text=st.text() | st.text("0123456789 x,pmghl"))
@example("1 x ² xl")
def test_whatever_is_typed_is_refused_or_can_be_put(text: str) -> None:
    try:
        wishes = parse(text)
    except UnreadableOrder:
        return
    encode(StartTableService(table="TBL1", wish=wishes))


def test_what_is_not_on_the_menu_is_refused_naming_what_is() -> None:
    check((Wish(1, "pmghr", "xl"),), MENU)
    for wish in (Wish(1, "nonesuch", "xl"), Wish(1, "pmghr", "xxl")):
        with pytest.raises(NotOnTheMenu, match=f"no {wish.code} {wish.size}; it has pmghr xl"):
            check((wish,), MENU)
    with pytest.raises(NotOnTheMenu, match="it has nothing"):
        check((Wish(1, "pmghr", "xl"),), ())


@pytest.mark.parametrize(
    ("amount", "currency", "words"),
    [
        (12400, "EUR", "124.00 EUR"),
        (5, "EUR", "0.05 EUR"),
        (0, "CHF", "0.00 CHF"),
        (1500, "JPY", "1500 JPY"),
        (1500, "KWD", "1.500 KWD"),
        (10**20, "EUR", "1000000000000000000.00 EUR"),
    ],
)
def test_an_amount_is_read_in_its_currency(amount: int, currency: str, words: str) -> None:
    assert in_words(amount, currency) == words
    assert decimal(amount, currency) == words.partition(" ")[0]
