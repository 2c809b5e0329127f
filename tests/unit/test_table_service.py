"""The story of a table: given this saga, when that is told, expect these commands and this state."""

from random import Random
from typing import Self
from uuid import UUID

import pytest
from django.db import transaction
from django.test.utils import isolate_apps
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from kitchen.contracts import DoPizza, PizzaCancelled, PizzaDone, PizzaRefused
from kitchen.models import KitchenOrder
from menu.contracts import GetMenu, MenuGot
from menu.contracts import Offer as MenuOffer
from orders.contracts import Cancel, DeadlinePassed, Decide, StartTableService, TableServiceStarted
from orders.graph import mermaid
from orders.pizzas import OrderedPizza
from orders.saga import Saga, find
from orders.steps import NEW, step
from orders.table_service import (
    APOLOGIZING,
    BAKING,
    BILLING,
    CALLED_OFF,
    CLOSED,
    GETTING_MENU,
    NEEDS_MANAGER,
    ORDERING,
    RECALLING,
    SERVING,
    SHOWING_MENU,
    STARTED,
    THANKING,
    TableService,
)
from pizzahouse.messaging import outbox
from pizzahouse.messaging.envelope import Letter
from pizzahouse.messaging.messages import Message, decode
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from pizzahouse.messaging.testing import deliver, hand, letters, sent
from tests.unit.postoffice import travelling
from waiter.contracts import (
    BillPaid,
    ClientApologized,
    ClientLeft,
    ClientThanked,
    MenuShown,
    Offer,
    OrderLine,
    OrderPlaced,
    PaymentDeclined,
    PizzasServed,
    PlaceOrder,
    ServePizzas,
    ShowBill,
    ShowMenu,
    ThankClient,
    Wish,
)
from waiter.models import Bill, Deed

pytestmark = pytest.mark.django_db
IN_ONE_DATABASE = [HealthCheck.function_scoped_fixture]

OFFER = ("pmghr", "Pizza Margherita", "xl", 1400, "EUR")
MENU = (Offer(*OFFER),)
LINES = (
    OrderLine(2, "pmghr", "xl", 1400, "EUR"),
    OrderLine(1, "proma", "xl", 2000, "EUR"),
    OrderLine(2, "pamat", "xxl", 3800, "EUR"),
)


class Table:
    """A table's service: `when` a message comes, `expect` commands and a state."""

    def __init__(self, state: str = NEW, **known: object) -> None:
        self.id: UUID = uuid7()
        if state != NEW:
            TableService.objects.create(id=self.id, table="TBL1", state=state, **known)

    @property
    def saga(self) -> TableService:
        return TableService.objects.get(pk=self.id)

    def tell(self, message: Message) -> Letter:
        """Put a message to the saga; it is not handled yet."""
        with transaction.atomic():
            message_id = outbox.put(message, to=TableService.address(), saga=self.id)
        return travelling(message_id)

    def when(self, message: Message) -> Self:
        self.told = self.tell(message)
        hand(self.told)
        return self

    def expect(self, *messages: Message, state: str) -> Self:
        assert self.answers() == list(messages)
        assert self.saga.state == state
        return self

    def answers(self) -> list[Message]:
        """What the saga put on the message it was told last, but for its deadline."""
        caused = OutboxMessage.objects.filter(causation_id=self.told.envelope.message_id)
        caused = caused.exclude(type="DeadlinePassed")
        return [decode(row.type, row.payload) for row in caused.order_by("id")]

    def claim(self) -> InboxMessage:
        """What the inbox keeps of the message it was told last."""
        return InboxMessage.objects.get(message_id=self.told.envelope.message_id)

    def pizzas(self) -> list[UUID]:
        return list(self.saga.pizzas.values_list("id", flat=True))


def baking(lines: tuple[OrderLine, ...] = LINES) -> Table:
    """A table whose pizzas are in the oven."""
    return Table(ORDERING).when(OrderPlaced(table="TBL1", lines=lines))


# --- The story ------------------------------------------------------------------------------------


def test_a_party_is_seated_fed_and_thanked() -> None:
    table = Table()
    table.when(StartTableService(table="TBL1")).expect(TableServiceStarted(table="TBL1"), state=STARTED)
    table.when(TableServiceStarted(table="TBL1")).expect(GetMenu(), state=GETTING_MENU)
    table.when(MenuGot(menu=(MenuOffer(*OFFER),)))
    table.expect(ShowMenu(table="TBL1", menu=MENU), state=SHOWING_MENU)
    table.when(MenuShown(table="TBL1", menu=MENU))
    table.expect(PlaceOrder(table="TBL1", menu=MENU), state=ORDERING)
    table.when(OrderPlaced(table="TBL1", lines=(OrderLine(2, "pmghr", "xl", 1400, "EUR"),)))
    first, second = table.pizzas()
    table.expect(DoPizza(first, "pmghr", "xl"), DoPizza(second, "pmghr", "xl"), state=BAKING)
    table.when(PizzaDone(second)).expect(state=BAKING)
    table.when(PizzaDone(first)).expect(ServePizzas(table="TBL1", pizzas=2), state=SERVING)
    table.when(PizzasServed(table="TBL1")).expect(ShowBill("TBL1", {"EUR": 2800}), state=BILLING)
    table.when(BillPaid("TBL1", {"EUR": 2800})).expect(ThankClient(table="TBL1"), state=THANKING)
    assert table.saga.outcome is None
    assert table.saga.finished_at is None
    table.when(ClientThanked(table="TBL1")).expect(state=CLOSED)
    assert table.saga.outcome == "completed"
    assert table.saga.finished_at is not None
    assert table.saga.version == 10


def test_a_menu_that_was_shown_before_leads_straight_to_the_order() -> None:
    wish = Wish(3, "pmghr", "xl")
    table = Table(GETTING_MENU, menu_shown=True, wish=[{"quantity": 3, "code": "pmghr", "size": "xl"}])
    table.when(MenuGot(menu=(MenuOffer(*OFFER),)))
    table.expect(PlaceOrder(table="TBL1", menu=MENU, wish=(wish,)), state=ORDERING)


def test_a_menu_is_remembered_as_shown_once_it_was() -> None:
    table = Table(SHOWING_MENU)
    assert not table.saga.menu_shown
    assert table.when(MenuShown(table="TBL1", menu=MENU)).saga.menu_shown


def test_what_the_guests_wish_for_is_handed_to_the_waiter() -> None:
    wish = (Wish(1, "pmghr", "xl"), Wish(2, "pvege", "xxl"))
    table = Table().when(StartTableService(table="TBL1", wish=wish))
    table.when(TableServiceStarted(table="TBL1")).when(MenuGot(menu=(MenuOffer(*OFFER),)))
    table.when(MenuShown(table="TBL1", menu=MENU))
    table.expect(PlaceOrder(table="TBL1", menu=MENU, wish=wish), state=ORDERING)


def test_the_order_of_the_house_costs_124_euros() -> None:
    table = baking()
    for pizza in table.pizzas():
        table.when(PizzaDone(pizza))
    table.expect(ServePizzas(table="TBL1", pizzas=5), state=SERVING)
    table.when(PizzasServed(table="TBL1")).expect(ShowBill("TBL1", {"EUR": 12400}), state=BILLING)


def test_a_bill_is_a_sum_per_currency() -> None:
    table = baking((OrderLine(2, "a", "xl", 1400, "EUR"), OrderLine(3, "b", "s", 900, "CHF")))
    for pizza in table.pizzas():
        table.when(PizzaDone(pizza))
    table.when(PizzasServed(table="TBL1"))
    table.expect(ShowBill("TBL1", {"CHF": 2700, "EUR": 2800}), state=BILLING)


def test_a_dear_order_can_be_billed() -> None:
    dear = OrderLine(2, "truffle", "xl", 100_000_000, "IDR")
    table = baking((dear,))
    for pizza in table.pizzas():
        table.when(PizzaDone(pizza))
    table.when(PizzasServed(table="TBL1"))
    table.expect(ShowBill("TBL1", {"IDR": 200_000_000}), state=BILLING)


def test_every_pizza_of_an_order_of_thousands_is_baked() -> None:
    table = baking(tuple(OrderLine(1000, f"p{kind}", "xl", 100, "EUR") for kind in range(7)))
    assert len(sent("DoPizza", saga=table.id)) == 7000
    assert (table.saga.state, table.saga.baking, table.saga.pizzas.count()) == (BAKING, 7000, 7000)


def test_the_commands_of_a_saga_are_answered_to_it() -> None:
    table = baking()
    envelopes = [letter.envelope for letter in letters("DoPizza")]
    assert {(each.saga, each.reply_to) for each in envelopes} == {(table.id, "orders.table_service")}
    assert {each.causation for each in envelopes} == {table.told.envelope.message_id}


def test_two_tables_do_not_meet() -> None:
    mine, yours = baking(LINES[:1]), baking(LINES[:1])
    for pizza in mine.pizzas():
        yours.when(PizzaDone(pizza)).expect(state=BAKING)
    assert yours.saga.baking == mine.saga.baking == 2
    for pizza in mine.pizzas():
        mine.when(PizzaDone(pizza))
    mine.expect(ServePizzas(table="TBL1", pizzas=2), state=SERVING)
    assert yours.saga.baking == 2


# --- What comes late, twice, or never should have come --------------------------------------------

ONE = UUID(int=1)
MESSAGES: list[Message] = [
    StartTableService(table="TBL2"),
    Cancel(by="anna", reason="a fly"),
    Decide("retry", by="anna", reason="again"),
    PizzaRefused(ONE, "pmghr", "burned"),
    PizzaCancelled(ONE, discarded=False),
    ClientLeft(table="TBL1"),
    ClientApologized(table="TBL1"),
    PaymentDeclined("TBL1", {"EUR": 1}),
    TableServiceStarted(table="TBL1"),
    MenuGot(menu=()),
    MenuShown(table="TBL1", menu=()),
    OrderPlaced(table="TBL1", lines=LINES),
    PizzaDone(ONE),
    PizzasServed(table="TBL1"),
    BillPaid("TBL1", {"EUR": 1}),
    ClientThanked(table="TBL1"),
]
WAITING = [STARTED, GETTING_MENU, SHOWING_MENU, ORDERING, BAKING, SERVING, BILLING, THANKING]
WAITING += [RECALLING, APOLOGIZING, NEEDS_MANAGER]
STATES = [*WAITING, CLOSED, CALLED_OFF]
LATE = [
    (message, state)
    for message in MESSAGES
    for state in STATES
    if (type(message), state) not in TableService.steps()
]


def test_the_table_of_late_messages_is_complete() -> None:
    steps = [key for key in TableService.steps() if key[0] is not DeadlinePassed]
    assert {type(message) for message in MESSAGES} == {on for on, _ in steps}
    assert {each.source for each in TableService.steps().values()} | {*TableService.outcomes} == {
        NEW,
        *STATES,
    }
    assert len(LATE) == len(MESSAGES) * len(STATES) - (len(steps) - 1)


@pytest.mark.parametrize(
    ("message", "state"), LATE, ids=[f"{type(message).__name__}-{state}" for message, state in LATE]
)
def test_a_message_in_a_state_that_does_not_wait_for_it_is_ignored(message: Message, state: str) -> None:
    table = Table(state, baking=1)
    OrderedPizza.objects.create(id=ONE, saga=table.saga, code="a", size="b", price=1, currency="EUR")
    before = TableService.objects.values().get(pk=table.id)
    table.when(message).expect(state=state)
    claim = table.claim()
    assert (claim.status, claim.from_state, claim.to_state) == ("ignored", state, state)
    assert claim.step == ""
    assert type(message).__name__ in claim.detail
    assert state in claim.detail
    assert TableService.objects.values().get(pk=table.id) == before
    assert OrderedPizza.objects.get(pk=ONE).status == "ordered"


@pytest.mark.parametrize("message", MESSAGES[1:], ids=lambda message: type(message).__name__)
def test_a_message_for_a_saga_that_does_not_exist_fails_and_makes_none(message: Message) -> None:
    table = Table().when(message)
    assert not TableService.objects.exists()
    assert table.claim().status in ("failed", "dead")
    assert "for a process that does not exist" in table.claim().error
    assert table.answers() == []


def test_a_message_that_names_no_saga_fails() -> None:
    with transaction.atomic():
        message_id = outbox.put(PizzaDone(ONE), to=TableService.address())
    hand(travelling(message_id))
    assert "names none" in InboxMessage.objects.get(message_id=message_id).error


def test_a_pizza_that_is_done_twice_is_served_once() -> None:
    table = baking(LINES[:1])
    first, second = table.pizzas()
    table.when(PizzaDone(first)).when(PizzaDone(first)).expect(state=BAKING)
    assert table.saga.baking == 1
    table.when(PizzaDone(second)).expect(ServePizzas(table="TBL1", pizzas=2), state=SERVING)
    table.when(PizzaDone(second)).expect(state=SERVING)


@pytest.mark.parametrize("known", [True, False], ids=["done before", "not of this table"])
def test_a_pizza_that_changes_nothing_is_recorded_as_ignored(known: bool) -> None:
    table = baking(LINES[:1])
    pizza = table.pizzas()[0] if known else ONE
    if known:
        table.when(PizzaDone(pizza))
    before = TableService.objects.values().get(pk=table.id)
    table.when(PizzaDone(pizza)).expect(state=BAKING)
    assert table.claim().status == "ignored"
    assert table.claim().detail != ""
    assert TableService.objects.values().get(pk=table.id) == before


@given(data=st.data())
@settings(max_examples=20, deadline=None, suppress_health_check=IN_ONE_DATABASE)
def test_pizzas_that_are_done_in_any_order_and_repeatedly_are_served_once(data: st.DataObject) -> None:
    table = baking()
    done = [table.tell(PizzaDone(pizza)) for pizza in table.pizzas()]
    again = [table.tell(PizzaDone(pizza)) for pizza in table.pizzas()]
    extra = data.draw(st.lists(st.sampled_from([*done, *again]), max_size=8))
    for letter in data.draw(st.permutations([*done, *extra])):
        hand(letter)
    assert sent("ServePizzas", saga=table.id) == [ServePizzas(table="TBL1", pizzas=5)]
    assert (table.saga.state, table.saga.baking) == (SERVING, 0)


# --- With the whole house -------------------------------------------------------------------------

COUNTS = {
    "StartTableService": 1,
    "TableServiceStarted": 1,
    "GetMenu": 1,
    "MenuGot": 1,
    "ShowMenu": 1,
    "MenuShown": 1,
    "PlaceOrder": 1,
    "OrderPlaced": 1,
    "DoPizza": 5,
    "PizzaDone": 5,
    "ServePizzas": 1,
    "PizzasServed": 1,
    "ShowBill": 1,
    "BillPaid": 1,
    "ThankClient": 1,
    "ClientThanked": 1,
}


def start(*wish: Wish) -> UUID:
    with transaction.atomic():
        return TableService.begin(StartTableService(table="TBL1", wish=wish))


def served_once(saga: UUID) -> None:
    """What a table is promised, whatever became of its messages on the way."""
    assert TableService.objects.get(pk=saga).state == CLOSED
    names = [type(message).__name__ for message in sent(saga=saga)]
    assert {name: names.count(name) for name in names} == COUNTS
    assert sent("ShowBill", saga=saga) == [ShowBill("TBL1", {"EUR": 12400})]
    assert KitchenOrder.objects.filter(visit=saga).count() == 5
    assert Bill.objects.filter(visit=saga).count() == 1
    deeds = Deed.objects.filter(visit=saga).values_list("kind", "pizzas")
    assert sorted(deeds) == [
        ("client_thanked", 0),
        ("menu_shown", 0),
        ("order_taken", 5),
        ("pizzas_served", 5),
    ]


def empty_the_house() -> None:
    for model in (TableService, OutboxMessage, InboxMessage, Deed, Bill, KitchenOrder):
        model._default_manager.all().delete()


def test_a_table_is_served_by_the_whole_house() -> None:
    saga = start()
    assert deliver(later=True) == 24
    served_once(saga)
    assert not InboxMessage.objects.exclude(status="done").exists()


def test_a_table_is_served_once_when_every_message_comes_twice() -> None:
    saga = start()
    deliver(later=True, twice=True)
    served_once(saga)


def test_many_tables_are_each_served_once() -> None:
    sagas = [start() for _ in range(5)]
    deliver(later=True, twice=True)
    for saga in sagas:
        served_once(saga)


@given(chance=st.randoms(use_true_random=False))
@settings(max_examples=10, deadline=None, suppress_health_check=IN_ONE_DATABASE)
def test_a_table_is_served_once_whatever_comes_when_and_how_often(chance: Random) -> None:
    empty_the_house()
    saga = start()
    for _ in range(60):
        under_way = [each for each in letters() if each.envelope.type != "DeadlinePassed"]
        hand(chance.choice(under_way[-8:] if chance.random() < 0.8 else under_way))
    deliver(later=True, twice=True)
    served_once(saga)


def test_a_wish_is_what_is_baked() -> None:
    saga = start(Wish(2, "pvege", "xxl"), Wish(1, "pfngh", "xl"))
    deliver(later=True)
    baked = KitchenOrder.objects.filter(visit=saga).values_list("code", "size")
    assert sorted(baked) == [("pfngh", "xl"), ("pvege", "xxl"), ("pvege", "xxl")]
    assert Bill.objects.get(visit=saga).amounts == {"EUR": 2 * 3100 + 1800}


def test_a_wish_that_is_not_on_the_menu_is_dead_and_says_what_is_missing() -> None:
    saga = start(Wish(1, "nonesuch", "xl"))
    deliver(later=True)
    dead = InboxMessage.objects.get(status="dead")
    assert (dead.type, dead.saga_id) == ("PlaceOrder", saga)
    assert "nonesuch xl is not on the menu" in dead.error
    assert TableService.objects.get(pk=saga).state == ORDERING


# --- The scenario as a table ----------------------------------------------------------------------


def test_the_steps_stand_in_the_order_of_the_story() -> None:
    methods = [each.method for each in TableService.steps().values()]
    assert list(dict.fromkeys(methods)) == [
        "start",
        "get_menu",
        "show_menu",
        "place_order",
        "do_pizzas",
        "collect_pizza",
        "show_bill",
        "thank_client",
        "close",
        "recall_round",
        "settle_pizza",
        "let_go",
        "cancel",
        "give_up",
        "call_off",
        "ask_for_another_card",
        "call_manager",
        "go_on",
    ]


def test_a_saga_has_an_address_and_says_where_it_stands() -> None:
    assert (TableService.label(), TableService.address()) == ("table_service", "orders.table_service")
    assert str(Table(BAKING).saga) == "TBL1 (baking)"


def test_the_state_of_a_saga_cannot_be_set_by_hand() -> None:
    saga = Table(BAKING).saga
    with pytest.raises(AttributeError):
        saga.state = CLOSED


@isolate_apps("orders")
def test_two_steps_on_one_message_in_one_state_are_refused() -> None:
    class TwoMinds(Saga):
        @step(on=PizzaDone, source=BAKING, target=SERVING)
        def serve(self, event: PizzaDone) -> None: ...

        @step(on=PizzaDone, source=BAKING, target=CLOSED)
        def close(self, event: PizzaDone) -> None: ...

        class Meta:
            app_label = "orders"

    with pytest.raises(TypeError, match="two steps on PizzaDone in state baking"):
        TwoMinds.steps()


def test_a_saga_is_found_whatever_its_scenario() -> None:
    table = Table(BAKING)
    assert find(table.id) == table.saga
    assert find(ONE) is None


def test_the_graph_has_an_arrow_for_each_step_and_target() -> None:
    lines = mermaid(TableService).splitlines()
    assert lines[0] == "stateDiagram-v2"
    assert lines[1] == "    [*] --> started: StartTableService"
    assert "    baking --> baking: PizzaDone" in lines
    assert "    baking --> serving: PizzaDone" in lines
    assert "    billing --> needs_manager: PaymentDeclined, DeadlinePassed" in lines
    assert lines[-2:] == ["    closed --> [*]", "    called_off --> [*]"]
    arrows = {(each.source, target) for each in TableService.steps().values() for target in each.targets}
    assert len(lines) == 1 + len(arrows) + 2
