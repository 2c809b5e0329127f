"""The menu, the waiter and the kitchen: what they answer, and what they leave behind."""

from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, transaction
from pytest_django import Settings

from kitchen.contracts import DoPizza, PizzaDone
from kitchen.models import KitchenOrder
from menu.contracts import GetMenu, MenuGot
from menu.contracts import Offer as MenuOffer
from menu.models import MenuItem, MenuPrice
from pizzahouse.messaging import outbox
from pizzahouse.messaging.handling import ask
from pizzahouse.messaging.messages import Command, Message
from pizzahouse.messaging.testing import hand, letters, sent
from tests.unit.postoffice import travelling
from waiter import guest
from waiter.contracts import (
    BillPaid,
    ClientLeft,
    ClientThanked,
    MenuShown,
    Offer,
    OrderLine,
    OrderPlaced,
    PizzasServed,
    PlaceOrder,
    ServePizzas,
    ShowBill,
    ShowMenu,
    ThankClient,
    Wish,
)
from waiter.guest import NotOnTheMenu
from waiter.models import Bill, Deed

pytestmark = pytest.mark.django_db
VISIT, PIZZA = UUID(int=5), UUID(int=6)
MENU = (Offer("pmghr", "Pizza Margherita", "xl", 1400, "EUR"), Offer("pvege", "Vege", "xl", 1900, "EUR"))


def ask_as_a_saga(command: Command, times: int = 1) -> list[Message]:
    """Put a command of a table's service, and handle it; returns the answers."""
    with transaction.atomic():
        letter = travelling(outbox.put(command, saga=VISIT, reply_to="orders.table_service"))
    for _ in range(times):
        hand(letter)
    answers = [each for each in letters() if each.envelope.causation == letter.envelope.message_id]
    return [sent(each.envelope.type, saga=VISIT)[-1] for each in answers]


ANSWERS: list[tuple[Command, Message]] = [
    (ShowMenu(table="T1", menu=MENU), MenuShown(table="T1", menu=MENU)),
    (
        PlaceOrder(table="T1", menu=MENU, wish=(Wish(3, "pvege", "xl"),)),
        OrderPlaced(table="T1", lines=(OrderLine(3, "pvege", "xl", 1900, "EUR"),)),
    ),
    (DoPizza(PIZZA, "pmghr", "xl"), PizzaDone(PIZZA)),
    (ServePizzas(table="T1", pizzas=5), PizzasServed(table="T1")),
    (ShowBill("T1", {"EUR": 12400, "CHF": 1}), BillPaid("T1", {"EUR": 12400, "CHF": 1})),
    (ThankClient(table="T1"), ClientThanked(table="T1")),
]


@pytest.mark.parametrize(("command", "event"), ANSWERS, ids=lambda each: type(each).__name__)
def test_a_command_is_answered_with_its_event_and_done_once(command: Command, event: Message) -> None:
    assert ask_as_a_saga(command, times=3) == [event]
    effects = [*Deed.objects.all(), *Bill.objects.all(), *KitchenOrder.objects.all()]
    assert [effect.visit for effect in effects] == [VISIT]


def test_the_menu_is_the_seeds() -> None:
    answer = ask(GetMenu())
    assert isinstance(answer, MenuGot)
    assert [(offer.code, offer.size, offer.price) for offer in answer.menu] == [
        ("pmghr", "xl", 1400),
        ("pmghr", "xxl", 2500),
        ("pfngh", "xl", 1800),
        ("pfngh", "xxl", 3000),
        ("pvege", "xl", 1900),
        ("pvege", "xxl", 3100),
        ("proma", "xl", 2000),
        ("proma", "xxl", 3500),
        ("pamat", "xl", 2100),
        ("pamat", "xxl", 3800),
    ]
    assert {offer.currency for offer in answer.menu} == {"EUR"}


def test_a_new_dish_is_on_the_next_menu() -> None:
    item = MenuItem.objects.create(code="ptruf", name="Truffle", position=0)
    MenuPrice.objects.create(item=item, size="s", price=9900, currency="CHF")
    answer = ask(GetMenu())
    assert isinstance(answer, MenuGot)
    assert answer.menu[0] == MenuOffer("ptruf", "Truffle", "s", 9900, "CHF")


def test_a_size_has_one_price() -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        MenuPrice.objects.create(item_id="pmghr", size="xl", price=1)


def test_what_the_guests_ate_and_paid_is_on_record() -> None:
    ask_as_a_saga(PlaceOrder(table="T1", menu=MENU, wish=(Wish(2, "pmghr", "xl"), Wish(3, "pvege", "xl"))))
    ask_as_a_saga(ServePizzas(table="T1", pizzas=5))
    ask_as_a_saga(ShowBill("T1", {"EUR": 12400}))
    assert list(Deed.objects.order_by("id").values_list("table", "kind", "pizzas")) == [
        ("T1", "order_taken", 5),
        ("T1", "pizzas_served", 5),
    ]
    assert Bill.objects.get().amounts == {"EUR": 12400}


@pytest.mark.parametrize(
    "command", [PlaceOrder("T1", MENU), DoPizza(PIZZA, "a", "b"), ShowBill("T1", {})], ids=str
)
def test_choosing_baking_and_paying_take_a_pause_that_holds_no_thread(
    command: Command, settings: Settings
) -> None:
    settings.PIZZAHOUSE_PACE = 30.0
    ask_as_a_saga(command)
    answer = letters()[-1].envelope
    assert answer.due_at is not None
    assert answer.created_at is not None
    assert 29 <= (answer.due_at - answer.created_at).total_seconds() <= 31


def test_at_pace_0_nothing_waits() -> None:
    ask_as_a_saga(DoPizza(PIZZA, "a", "b"))
    assert letters()[-1].envelope.due_at is None


# --- The simulated guest --------------------------------------------------------------------------


def offers(*codes: str) -> tuple[Offer, ...]:
    return tuple(Offer(code, code, size, 100, "EUR") for code in codes for size in ("xl", "xxl"))


@pytest.mark.parametrize(
    ("menu", "wish", "ordered"),
    [
        (
            offers("pmghr", "proma", "pamat"),
            (),
            [(2, "pmghr", "xl"), (1, "proma", "xl"), (2, "pamat", "xxl")],
        ),
        (offers("pmghr", "pfngh"), (), [(2, "pmghr", "xl")]),
        (offers("pfngh"), (), [(1, "pfngh", "xl")]),
        (offers("pfngh"), (Wish(9, "pfngh", "xxl"),), [(9, "pfngh", "xxl")]),
        ((), (), []),
    ],
    ids=["the favourites", "one favourite", "no favourite", "a wish", "an empty menu"],
)
def test_the_guest_orders_the_wish_or_a_favourite_or_what_there_is(
    menu: tuple[Offer, ...], wish: tuple[Wish, ...], ordered: list[Any]
) -> None:
    lines = guest.choose(menu, wish)
    assert [(line.quantity, line.code, line.size) for line in lines] == ordered
    assert all((line.price, line.currency) == (100, "EUR") for line in lines)


@pytest.mark.parametrize("wish", [Wish(1, "nonesuch", "xl"), Wish(1, "pmghr", "xxxl")], ids=str)
def test_a_guest_who_wants_what_is_not_there_says_so(wish: Wish) -> None:
    with pytest.raises(NotOnTheMenu, match=f"{wish.code} {wish.size} is not on the menu"):
        guest.choose(offers("pmghr"), (wish,))


def test_what_is_ordered_in_two_lines_may_be_more_than_one_line_holds() -> None:
    wish = (Wish(600, "pmghr", "xl"), Wish(600, "pmghr", "xl"))
    lines = guest.choose(offers("pmghr"), wish)
    assert [line.quantity for line in lines] == [1000, 200]


def test_from_an_empty_menu_nothing_can_be_ordered_and_the_guests_leave() -> None:
    assert ask_as_a_saga(PlaceOrder(table="T1", menu=())) == [ClientLeft(table="T1")]
