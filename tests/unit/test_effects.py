"""What a process has really changed, as each module tells it."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.db.models import Sum
from django.template.loader import render_to_string
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from kitchen.models import KitchenOrder, Stock
from orders.contracts import Cancel, StartTableService
from orders.table_service import CALLED_OFF, CLOSED, NEEDS_MANAGER, TableService
from pizzahouse.messaging import effects, outbox
from pizzahouse.messaging.effects import Effect, shortlist
from pizzahouse.messaging.testing import deliver, hand, letters
from tests.unit.test_payments import SECRET, tell
from waiter import guest
from waiter.contracts import Wish
from waiter.models import Bill, Till

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("full_larder")]
NOBODY = UUID(int=5)


@pytest.fixture
def nobody_knows() -> Iterator[list[Any]]:
    """Functions that tell the effects of a module; a test adds some."""
    functions: list[Any] = []
    effects._functions["notary"] = functions
    yield functions
    del effects._functions["notary"]


def seat(**wishes: Any) -> UUID:
    with transaction.atomic():
        return TableService.begin(StartTableService(table="TBL1", **wishes))


def served(**wishes: Any) -> UUID:
    saga = seat(**wishes)
    deliver(later=True)
    return saga


def state_of(saga: UUID) -> str:
    return TableService.objects.get(pk=saga).state


def texts(saga: UUID, module: str, *kinds: str) -> list[str]:
    """What this module tells; only effects of these kinds, if any are named."""
    return [effect.text for effect in effects.of(saga)[module] if not kinds or effect.what in kinds]


# --- A good evening -------------------------------------------------------------------------------


def test_of_a_served_table_the_kitchen_tells_its_pizzas_and_what_is_left() -> None:
    saga = served()
    assert state_of(saga) == CLOSED
    assert texts(saga, "kitchen") == [
        "2 x pamat xxl: baked",
        "2 x pmghr xl: baked",
        "1 x proma xl: baked",
        "pamat: 2 taken; 999998 left now",
        "pmghr: 2 taken; 999998 left now",
        "proma: 1 taken; 999999 left now",
    ]


def test_of_a_served_table_the_orders_tell_what_was_ordered_and_the_bill() -> None:
    assert texts(served(), "orders") == [
        "2 x pamat xxl at 38.00 EUR: done",
        "2 x pmghr xl at 14.00 EUR: done",
        "1 x proma xl at 20.00 EUR: done",
        "pizzas: 5",
        "bill: 124.00 EUR",
    ]


def test_of_a_served_table_the_waiter_tells_his_deeds_the_bill_and_the_till() -> None:
    saga = served()
    assert texts(saga, "waiter") == [
        "The menu was shown.",
        "An order was taken: pizzas: 5.",
        "Pizzas were served: 5.",
        "The guests were thanked.",
        "The bill of 124.00 EUR was shown once; it is paid.",
        "124.00 EUR went into the till.",
    ]
    assert Till.objects.get(pk="EUR").amount == 12400


def test_each_effect_of_a_module_has_a_page_that_shows_it(admin_client: Client) -> None:
    saga = served()
    pages = {effect.url for module in ("kitchen", "waiter") for effect in effects.of(saga)[module]}
    assert len(pages) == 6
    for page in pages:
        response = admin_client.get(page)
        assert response.status_code == 200, page
        if "?" in page:
            assert response.context["cl"].result_count > 0, page


def test_what_a_module_did_tells_when_it_did_it() -> None:
    timed = [effect for effect in effects.of(served())["waiter"] if effect.at]
    assert [effect.what for effect in timed] == ["deed"] * 4 + ["bill", "till"]
    assert timed[0].at <= timed[3].at  # type: ignore[operator]


def test_another_table_s_effects_are_not_among_them() -> None:
    served()
    told = effects.of(NOBODY)
    assert sorted(told) == ["kitchen", "orders", "waiter"]
    assert told == {"kitchen": [], "orders": [], "waiter": []}


# --- A bad evening --------------------------------------------------------------------------------


def test_of_recalled_pizzas_it_is_told_what_became_of_each() -> None:
    Stock.objects.filter(code="pamat").update(left=1)
    saga = served()
    assert state_of(saga) == CLOSED
    kitchen = Counter(dict(counted(text) for text in texts(saga, "kitchen", "pizza")))
    orders = KitchenOrder.objects.filter(visit=saga)
    assert kitchen["pamat xxl: refused: there was nothing to bake it with"] == 1
    assert sum(kitchen.values()) == orders.count()
    thrown_away = sum(number for text, number in kitchen.items() if text.endswith(": baked and thrown away"))
    assert thrown_away == orders.filter(status="discarded").count() > 0
    assert any(
        text.startswith("pamat: 1 taken, 1 discarded; 0 left") for text in texts(saga, "kitchen", "stock")
    )
    assert "1 x pamat xxl at 38.00 EUR: refused" in texts(saga, "orders", "pizza")


def counted(text: str) -> tuple[str, int]:
    """ "2 x pmghr xl: baked" as what and how many."""
    number, _, what = text.partition(" x ")
    return what, int(number)


def test_the_stock_that_is_told_is_what_is_really_gone(settings: Settings) -> None:
    settings.PIZZAHOUSE_PACE = 1.0
    Stock.objects.filter(code="pamat").update(left=1)
    at_first = sum(Stock.objects.values_list("left", flat=True))
    saga = served()
    gone = 0
    for text in texts(saga, "kitchen", "stock"):
        [taken] = re.findall(r"(\d+) taken", text)
        given_back = re.findall(r"(\d+) given back", text)
        gone += int(taken) - sum(map(int, given_back))
    left = Stock.objects.aggregate(Sum("left"))["left__sum"]
    assert at_first - left == gone > 0


def test_a_pizza_in_the_oven_is_told_to_be_there(settings: Settings) -> None:
    settings.PIZZAHOUSE_PACE = 1000.0
    saga = seat(wish=(Wish(2, "pmghr", "xl"),))
    deliver()
    [order_placed] = letters("OrderPlaced")
    hand(order_placed)
    deliver()
    assert texts(saga, "kitchen", "pizza") == ["2 x pmghr xl: in the oven"]
    with transaction.atomic():
        outbox.put(Cancel(by="anna", reason="rain"), to=TableService.address(), saga=saga)
    deliver()
    assert state_of(saga) == CALLED_OFF
    assert texts(saga, "kitchen") == [
        "2 x pmghr xl: cancelled before it was baked",
        "pmghr: 2 taken, 2 given back; 1000000 left now",
    ]


def test_a_table_that_was_called_off_ate_and_paid_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "leaves", lambda: True)
    saga = served()
    assert state_of(saga) == CALLED_OFF
    assert texts(saga, "kitchen") == []
    assert texts(saga, "orders") == ["pizzas: 0", "bill: nothing"]
    assert texts(saga, "waiter") == ["The menu was shown.", "The guests left without ordering."]


def test_a_declined_card_leaves_a_bill_that_is_not_paid_and_no_money(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "declines", lambda: True)
    saga = served()
    assert state_of(saga) == NEEDS_MANAGER
    assert texts(saga, "waiter", "bill", "till") == [
        "The bill of 124.00 EUR was shown 3 times; it is not paid."
    ]


def test_what_a_payment_service_told_is_told(settings: Settings) -> None:
    settings.PIZZAHOUSE_PAYMENT, settings.PIZZAHOUSE_PAYMENT_SECRET = "remote", SECRET
    saga = served()
    waits = "The bill of 124.00 EUR was shown once; it waits for somebody who pays."
    assert texts(saga, "waiter", "bill", "till", "payment") == [waits]
    tell(Bill.objects.get(visit=saga), "psp-1", "declined")
    deliver(later=True)
    tell(Bill.objects.get(visit=saga), "psp-2")
    deliver(later=True)
    assert texts(saga, "waiter", "bill", "till", "payment") == [
        "The bill of 124.00 EUR was shown 2 times; it is paid.",
        "124.00 EUR went into the till.",
        "Payment psp-1 was declined.",
        "Payment psp-2 was accepted.",
    ]


def test_what_human_guests_were_asked_is_told_until_it_is_closed() -> None:
    saga = seat(in_person=True)
    deliver()
    assert texts(saga, "waiter", "question") == [
        "The guests were asked for an order: nobody has answered yet."
    ]
    deliver(later=timedelta(hours=2))
    assert state_of(saga) == CALLED_OFF
    assert texts(saga, "waiter")[-1] == "The guests were asked for an order: the question is closed."


# --- However much there is, and whatever goes wrong -----------------------------------------------


def test_many_pizzas_are_told_as_shortly_and_in_as_few_statements_as_few() -> None:
    few, many = served(wish=(Wish(1, "pmghr", "xl"),)), served(wish=(Wish(50, "pmghr", "xl"),))

    def statements(saga: UUID) -> int:
        with CaptureQueriesContext(connection) as asked:
            effects.of(saga)
        return sum("SAVEPOINT" not in each["sql"] for each in asked.captured_queries)

    assert statements(few) == statements(many) <= 12
    assert texts(many, "kitchen") == ["50 x pmghr xl: baked", "pmghr: 50 taken; 999949 left now"]
    assert len(texts(few, "orders")) == len(texts(many, "orders"))


def test_a_list_that_is_long_ends_with_how_many_more_there_are() -> None:
    long = [Effect("deed", str(number)) for number in range(25)]
    assert [effect.text for effect in shortlist(long)][-2:] == ["19", "and 5 more"]
    assert shortlist(long[:20]) == long[:20]


def test_a_module_that_cannot_tell_says_so_and_keeps_no_other_from_telling(nobody_knows: list[Any]) -> None:
    def fails(saga_id: UUID) -> list[Effect]:
        raise ValueError("the books are locked\nand more")

    nobody_knows += [fails, lambda _saga: [Effect("deed", "A deed was signed.")]]
    saga = served()
    assert texts(saga, "notary") == [
        "What changed here could not be told: ValueError: the books are locked",
        "A deed was signed.",
    ]
    assert texts(saga, "waiter")


def test_a_module_whose_statement_fails_breaks_no_other_s(nobody_knows: list[Any]) -> None:
    def fails(saga_id: UUID) -> Iterator[Effect]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nothing FROM nowhere")
        yield Effect("deed", "never")

    nobody_knows.append(fails)
    saga = served()
    [said] = texts(saga, "notary")
    assert said.startswith("What changed here could not be told: ")
    assert texts(saga, "waiter"), "what is asked after it is answered"


def test_the_page_shows_each_module_and_escapes_what_others_wrote(nobody_knows: list[Any]) -> None:
    nobody_knows.append(lambda _saga: [Effect("deed", "<script>1</script>", url="/admin/?a=1&b=2")])
    html = render_to_string("office/process/effects.html", {"effects": effects.of(served())})
    assert re.findall(r'data-module="(\w+)"', html) == ["kitchen", "notary", "orders", "waiter"]
    assert "&lt;script&gt;1&lt;/script&gt;" in html
    assert 'href="/admin/?a=1&amp;b=2"' in html
    assert "124.00 EUR went into the till." in html
