"""When it goes wrong: each row of the table, as a story."""

from datetime import timedelta
from uuid import UUID

import pytest
from django.db import transaction
from django.utils import timezone
from pytest_django import Settings

from kitchen.contracts import CancelPizza, DoPizza, PizzaCancelled, PizzaDone, PizzaRefused
from kitchen.models import KitchenOrder, Stock
from menu.contracts import GetMenu, MenuGot
from menu.contracts import Offer as MenuOffer
from menu.models import MenuItem
from orders.contracts import Cancel, Decide, StartTableService, TableServiceStarted
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
from pizzahouse.messaging import history, outbox
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from pizzahouse.messaging.relay import letter_of
from pizzahouse.messaging.testing import deliver, hand, letters, sent
from tests.unit.postoffice import travelling
from tests.unit.test_table_service import LINES, MENU, OFFER, Table, baking
from waiter.contracts import (
    Apologize,
    BillPaid,
    ClientApologized,
    ClientLeft,
    ClientThanked,
    MenuShown,
    OrderLine,
    OrderPlaced,
    PaymentDeclined,
    PizzasServed,
    PlaceOrder,
    ServePizzas,
    ShowBill,
    ThankClient,
    Wish,
)
from waiter.models import Bill, Deed, Till

pytestmark = pytest.mark.django_db
TWO = LINES[:1]  # two Margheritas
BILL = {"EUR": 2800}
CANCEL = Cancel(by="anna", reason="a fly in the soup")
GAVE_UP = "the kitchen cannot make it"


@pytest.fixture(autouse=True)
def _stocked() -> None:
    """Whatever tests that commit have left of it."""
    for item in MenuItem.objects.all():
        Stock.objects.update_or_create(code=item.code, defaults={"left": 1_000_000})


def refused(pizza: UUID, reason: str = "sold out") -> PizzaRefused:
    return PizzaRefused(pizza, "pmghr", reason)  # type: ignore[arg-type]


def cancelled(pizza: UUID, *, discarded: bool = False) -> PizzaCancelled:
    return PizzaCancelled(pizza, discarded=discarded)


def pass_deadline(table: Table) -> Table:
    """Its time is up, and the message that says so comes."""
    deadline = table.saga.deadline
    assert deadline is not None
    table.told = travelling(deadline)
    hand(table.told)
    return table


# --- A pizza is refused ---------------------------------------------------------------------------


def test_a_refused_pizza_recalls_the_others_and_leads_to_a_second_round() -> None:
    table = baking(LINES)
    first, *others = table.pizzas()
    table.when(PizzaDone(others[0])).expect(state=BAKING)
    table.when(refused(first)).expect(*(CancelPizza(each) for each in others), state=RECALLING)
    assert table.claim().detail == "pmghr: sold out; withdrawn: 5 x DoPizza"
    table.when(cancelled(others[0], discarded=True)).expect(state=RECALLING)
    table.when(cancelled(others[1])).when(refused(others[2])).expect(state=RECALLING)
    table.when(PizzaDone(others[3])).expect(GetMenu(sold_out=("pmghr",)), state=GETTING_MENU)
    assert (table.saga.round, table.saga.baking) == (2, 0)


def test_in_the_second_round_the_menu_is_not_shown_but_the_guest_is_asked_again() -> None:
    table = Table(GETTING_MENU, menu_shown=True, round=2)
    table.when(MenuGot(menu=(MenuOffer(*OFFER, sold_out=True),)))
    (question,) = table.answers()
    assert isinstance(question, PlaceOrder)
    assert question.menu[0].sold_out
    assert table.saga.state == ORDERING


def test_the_only_pizza_that_is_refused_leads_to_the_next_round_at_once() -> None:
    table = baking((OrderLine(1, "pmghr", "xl", 1400, "EUR"),))
    (pizza,) = table.pizzas()
    table.when(refused(pizza, "burned")).expect(GetMenu(), state=GETTING_MENU)
    assert table.saga.sold_out == [], "a burned pizza says nothing of what there is"


def test_the_bill_of_a_second_round_is_its_own() -> None:
    table = baking(LINES)
    TableService.objects.filter(pk=table.id).update(menu_shown=True)
    first, *others = table.pizzas()
    table.when(refused(first))
    for pizza in others:
        table.when(cancelled(pizza))
    table.when(MenuGot(menu=(MenuOffer(*OFFER),)))
    table.when(OrderPlaced(table="TBL1", lines=TWO))
    second = [pizza for pizza in table.pizzas() if pizza not in (first, *others)]
    table.when(PizzaDone(others[0])).expect(state=BAKING)
    for pizza in second:
        table.when(PizzaDone(pizza))
    table.expect(ServePizzas(table="TBL1", pizzas=2), state=SERVING)
    table.when(PizzasServed(table="TBL1")).expect(ShowBill("TBL1", BILL), state=BILLING)


def test_after_the_second_refused_round_the_guests_get_an_apology() -> None:
    table = baking(TWO)
    TableService.objects.filter(pk=table.id).update(round=2)
    first, second = table.pizzas()
    table.when(refused(first)).expect(CancelPizza(second), state=RECALLING)
    table.when(cancelled(second)).expect(Apologize("TBL1", GAVE_UP), state=APOLOGIZING)
    table.when(ClientApologized(table="TBL1")).expect(state=CALLED_OFF)
    assert table.saga.outcome == "called off"
    assert table.saga.finished_at is not None


def test_a_pizza_that_is_refused_twice_is_recalled_once() -> None:
    table = baking(TWO)
    first, second = table.pizzas()
    table.when(refused(first)).when(refused(first)).expect(state=RECALLING)
    assert table.claim().status == "ignored"
    table.when(cancelled(second)).when(cancelled(second)).expect(state=GETTING_MENU)


def test_what_the_kitchen_has_not_begun_is_withdrawn() -> None:
    table = baking(TWO)
    table.when(CANCEL)
    withdrawn = InboxMessage.objects.filter(type="DoPizza")
    assert [each.status for each in withdrawn] == ["ignored", "ignored"]
    assert withdrawn[0].detail.startswith("withdrawn: ")
    for letter in letters("DoPizza"):
        hand(letter)
    assert not KitchenOrder.objects.exists()


# --- It is cancelled ------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [STARTED, GETTING_MENU, SHOWING_MENU, ORDERING])
def test_before_anything_is_ordered_a_cancel_leads_to_an_apology(state: str) -> None:
    table = Table(state)
    table.when(CANCEL).expect(Apologize("TBL1", CANCEL.reason), state=APOLOGIZING)
    table.when(ClientApologized(table="TBL1")).expect(state=CALLED_OFF)


def test_a_cancel_while_pizzas_bake_recalls_them_and_there_is_no_second_round() -> None:
    table = baking(TWO)
    first, second = table.pizzas()
    table.when(CANCEL).expect(CancelPizza(first), CancelPizza(second), state=RECALLING)
    table.when(cancelled(first)).expect(state=RECALLING)
    table.when(cancelled(second)).expect(Apologize("TBL1", CANCEL.reason), state=APOLOGIZING)


def test_a_cancel_while_pizzas_are_recalled_ends_it_when_they_are_settled() -> None:
    table = baking(TWO)
    first, second = table.pizzas()
    table.when(refused(first)).when(CANCEL).expect(state=RECALLING)
    table.when(cancelled(second)).expect(Apologize("TBL1", CANCEL.reason), state=APOLOGIZING)


@pytest.mark.parametrize(
    "state", [SERVING, BILLING, THANKING, NEEDS_MANAGER, CLOSED, CALLED_OFF, APOLOGIZING]
)
def test_after_the_pivot_a_cancel_changes_nothing(state: str) -> None:
    table = Table(state)
    table.when(CANCEL).expect(state=state)
    assert table.claim().status == "ignored"


def test_who_cancelled_and_why_is_in_the_history() -> None:
    table = Table(ORDERING).when(CANCEL)
    (step,) = [each for each in history.of(table.id) if each.type == "cancel"]
    assert step.detail.startswith("anna: a fly in the soup")


def test_the_guests_may_leave() -> None:
    table = Table(ORDERING).when(ClientLeft(table="TBL1")).expect(state=CALLED_OFF)
    assert table.saga.off_because == "the guests left"


# --- The kitchen undoes ---------------------------------------------------------------------------

PIZZA = UUID(int=6)


def tell_kitchen(command: DoPizza | CancelPizza) -> InboxMessage:
    with transaction.atomic():
        letter = travelling(outbox.put(command, saga=UUID(int=5), reply_to="orders.table_service"))
    hand(letter)
    return InboxMessage.objects.get(message_id=letter.envelope.message_id)


def left() -> int:
    return Stock.objects.get(pk="pmghr").left


@pytest.fixture
def stock() -> None:
    Stock.objects.filter(pk="pmghr").update(left=2)


@pytest.mark.usefixtures("stock")
def test_a_pizza_takes_one_from_the_stock_and_the_one_too_many_is_refused() -> None:
    for number in range(3):
        tell_kitchen(DoPizza(UUID(int=number + 1), "pmghr", "xl"))
    assert sent("PizzaRefused") == [refused(UUID(int=3))]
    assert [type(each).__name__ for each in sent() if not isinstance(each, DoPizza)].count("PizzaDone") == 2
    assert left() == 0
    assert KitchenOrder.objects.filter(status="refused").count() == 1


@pytest.mark.usefixtures("stock")
def test_a_pizza_that_is_cancelled_in_the_oven_is_given_back(settings: Settings) -> None:
    settings.PIZZAHOUSE_PACE = 30.0
    tell_kitchen(DoPizza(PIZZA, "pmghr", "xl"))
    assert left() == 1
    tell_kitchen(CancelPizza(PIZZA))
    assert sent("PizzaCancelled") == [cancelled(PIZZA)]
    assert left() == 2
    assert sent("PizzaDone") == [], "it never gets done"


@pytest.mark.usefixtures("stock")
def test_a_pizza_that_is_cancelled_when_it_is_baked_is_discarded() -> None:
    tell_kitchen(DoPizza(PIZZA, "pmghr", "xl"))
    tell_kitchen(CancelPizza(PIZZA))
    assert sent("PizzaCancelled") == [cancelled(PIZZA, discarded=True)]
    assert left() == 1
    assert KitchenOrder.objects.get().status == "discarded"


@pytest.mark.usefixtures("stock")
def test_a_pizza_that_is_cancelled_before_it_is_ordered_is_never_baked() -> None:
    tell_kitchen(CancelPizza(PIZZA))
    late = tell_kitchen(DoPizza(PIZZA, "pmghr", "xl"))
    assert (late.status, late.detail) == ("ignored", "this pizza is cancelled already; nothing is baked")
    assert sent("PizzaDone") == []
    assert left() == 2


@pytest.mark.usefixtures("stock")
def test_a_pizza_that_is_cancelled_twice_is_given_back_once(settings: Settings) -> None:
    settings.PIZZAHOUSE_PACE = 30.0
    tell_kitchen(DoPizza(PIZZA, "pmghr", "xl"))
    tell_kitchen(CancelPizza(PIZZA))
    tell_kitchen(CancelPizza(PIZZA))
    assert left() == 2


@pytest.mark.usefixtures("stock")
def test_a_burned_pizza_is_gone_and_said_to_be(settings: Settings) -> None:
    settings.PIZZAHOUSE_MISHAPS = settings.PIZZAHOUSE_MISHAPS | {"burned": 1.0}
    tell_kitchen(DoPizza(PIZZA, "pmghr", "xl"))
    assert sent("PizzaRefused") == [refused(PIZZA, "burned")]
    assert left() == 1
    assert KitchenOrder.objects.get().status == "burned"
    tell_kitchen(CancelPizza(PIZZA))
    assert sent("PizzaCancelled") == [cancelled(PIZZA)]
    assert left() == 1


def test_what_the_kitchen_keeps_no_stock_of_never_runs_out() -> None:
    tell_kitchen(DoPizza(PIZZA, "ptruf", "xl"))
    assert sent("PizzaDone") == [PizzaDone(PIZZA)]


# --- Money ----------------------------------------------------------------------------------------


def test_a_declined_card_is_asked_for_another_twice_and_then_the_manager_is_called() -> None:
    table = baking(TWO)
    for pizza in table.pizzas():
        table.when(PizzaDone(pizza))
    table.when(PizzasServed(table="TBL1")).expect(ShowBill("TBL1", BILL), state=BILLING)
    for _ in range(2):
        table.when(PaymentDeclined("TBL1", BILL)).expect(ShowBill("TBL1", BILL), state=BILLING)
    table.when(PaymentDeclined("TBL1", BILL)).expect(state=NEEDS_MANAGER)
    assert table.saga.stopped_in == BILLING
    assert table.saga.outcome is None
    assert table.saga.deadline is None, "a human may take any time"


def at_manager(stopped_in: str) -> Table:
    table = baking(TWO)
    for pizza in table.pizzas():
        table.when(PizzaDone(pizza))
    if stopped_in != SERVING:
        table.when(PizzasServed(table="TBL1"))
    if stopped_in == THANKING:
        table.when(BillPaid("TBL1", BILL))
    return pass_deadline(pass_deadline(table))


def decide(decision: str) -> Decide:
    return Decide(decision, by="otto", reason="regulars")  # type: ignore[arg-type]


def test_the_manager_can_have_the_bill_shown_again() -> None:
    table = at_manager(BILLING)
    table.when(decide("retry")).expect(ShowBill("TBL1", BILL), state=BILLING)
    assert table.claim().detail == "otto: retry: regulars"
    table.when(BillPaid("TBL1", BILL)).expect(ThankClient(table="TBL1"), state=THANKING)


def test_the_manager_can_write_the_bill_off() -> None:
    table = at_manager(BILLING)
    table.when(decide("write off")).expect(ThankClient(table="TBL1"), state=THANKING)
    table.when(ClientThanked(table="TBL1")).expect(state=CLOSED)


def test_a_bill_that_is_written_off_does_not_come_any_more() -> None:
    table = at_manager(BILLING)
    bill = OutboxMessage.objects.get(type="ShowBill")
    table.when(decide("write off"))
    hand(letter_of(bill))
    assert InboxMessage.objects.get(message_id=bill.id).status == "ignored"
    assert not Bill.objects.exists()


def test_pizzas_that_are_written_off_before_they_are_served_are_discarded() -> None:
    table = at_manager(SERVING)
    recalled = [CancelPizza(pizza) for pizza in table.pizzas()]
    table.when(decide("write off")).expect(*recalled, ThankClient(table="TBL1"), state=THANKING)
    assert table.claim().detail == "otto: write off: regulars; withdrawn: ServePizzas"
    table.when(PizzaCancelled(recalled[0].kitchen_order_id, discarded=True)).expect(state=THANKING)


def test_an_order_of_thousands_can_be_called_off() -> None:
    lines = tuple(OrderLine(1000, "pmghr", "xl", 1400, "EUR") for _ in range(8))
    table = baking(lines)
    table.when(Cancel(by="anna", reason="too much"))
    assert len(table.answers()) == 8000
    assert InboxMessage.objects.filter(type="DoPizza", status="ignored").count() == 8000


def test_what_comes_after_the_manager_was_called_is_as_good_as_in_time() -> None:
    table = at_manager(SERVING)
    table.when(BillPaid("TBL1", BILL)).expect(state=NEEDS_MANAGER)
    assert table.claim().status == "ignored"
    table.when(PizzasServed(table="TBL1")).expect(ShowBill("TBL1", BILL), state=BILLING)
    at_manager(BILLING).when(BillPaid("TBL1", BILL)).expect(ThankClient(table="TBL1"), state=THANKING)
    at_manager(THANKING).when(ClientThanked(table="TBL1")).expect(state=CLOSED)


@pytest.mark.parametrize("decision", ["retry", "write off"])
def test_guests_who_have_paid_are_only_thanked_again(decision: str) -> None:
    table = at_manager(THANKING)
    table.when(decide(decision)).expect(state=THANKING)
    assert table.answers() == []
    assert "ThankClient" in table.claim().detail.partition("sent again: ")[2]


def test_pizzas_that_were_not_served_are_asked_for_again() -> None:
    table = at_manager(SERVING)
    table.when(decide("retry")).expect(state=SERVING)
    assert "ServePizzas" in table.claim().detail


def waiter(command: ShowBill) -> InboxMessage:
    with transaction.atomic():
        letter = travelling(outbox.put(command, saga=UUID(int=5), reply_to="orders.table_service"))
    hand(letter)
    return InboxMessage.objects.get(message_id=letter.envelope.message_id)


def test_the_money_of_a_bill_is_in_the_till_once_however_often_it_is_shown(settings: Settings) -> None:
    settings.PIZZAHOUSE_MISHAPS = settings.PIZZAHOUSE_MISHAPS | {"declined": 1.0}
    bill = ShowBill("TBL1", {"EUR": 12400, "CHF": 900})
    waiter(bill)
    assert not Till.objects.exists()
    settings.PIZZAHOUSE_MISHAPS = settings.PIZZAHOUSE_MISHAPS | {"declined": 0.0}
    waiter(bill)
    again = waiter(bill)
    assert (again.status, again.detail) == ("ignored", "it is paid")
    assert [type(each).__name__ for each in sent() if not isinstance(each, ShowBill)] == [
        "PaymentDeclined",
        "BillPaid",
    ]
    assert Bill.objects.get().shown == 2
    assert dict(Till.objects.values_list("currency", "amount")) == bill.bill


# --- Deadlines ------------------------------------------------------------------------------------


def test_a_deadline_first_asks_again_under_the_same_id() -> None:
    table = Table(STARTED).when(TableServiceStarted(table="TBL1"))
    (question,) = letters("GetMenu")
    OutboxMessage.objects.filter(type="GetMenu").update(sent_at=timezone.now(), available_at=None)
    pass_deadline(table).expect(state=GETTING_MENU)
    assert (table.claim().status, table.claim().step) == ("done", "ask_again")
    assert table.claim().detail == "sent again: GetMenu"
    row = OutboxMessage.objects.get(type="GetMenu")
    assert (row.id, row.sent_at) == (question.envelope.message_id, None)
    assert table.saga.version == 1


@pytest.mark.parametrize("state", [STARTED, GETTING_MENU, SHOWING_MENU, ORDERING])
def test_the_second_deadline_before_an_order_calls_it_off(state: str) -> None:
    table = arrived_in(state)
    pass_deadline(pass_deadline(table))
    table.expect(Apologize("TBL1", f"nothing came of {state} in time"), state=APOLOGIZING)


def arrived_in(state: str) -> Table:
    """A table that has come to this state by its steps, so that its time runs."""
    table = Table().when(StartTableService(table="TBL1"))
    if state == STARTED:
        return table
    table.when(TableServiceStarted(table="TBL1"))
    if state == GETTING_MENU:
        return table
    table.when(MenuGot(menu=(MenuOffer(*OFFER),)))
    if state == SHOWING_MENU:
        return table
    return table.when(MenuShown(table="TBL1", menu=MENU))


def test_the_second_deadline_of_pizzas_recalls_them() -> None:
    table = baking(TWO)
    pass_deadline(pass_deadline(table))
    table.expect(*(CancelPizza(pizza) for pizza in table.pizzas()), state=RECALLING)


@pytest.mark.parametrize("state", [SERVING, BILLING, THANKING])
def test_the_second_deadline_after_the_pivot_calls_the_manager(state: str) -> None:
    table = at_manager(state)
    assert (table.saga.state, table.saga.stopped_in) == (NEEDS_MANAGER, state)


def test_what_is_being_undone_is_asked_for_again_and_again_after_ever_longer_pauses() -> None:
    table = baking(TWO).when(CANCEL)
    pauses = []
    for _ in range(5):
        saga = table.saga
        assert saga.deadline_at is not None
        pauses.append(round((saga.deadline_at - timezone.now()) / timedelta(minutes=30)))
        pass_deadline(table).expect(state=RECALLING)
    assert pauses == [1, 1, 2, 4, 8]


def test_a_deadline_that_is_late_is_ignored() -> None:
    table = Table(STARTED).when(TableServiceStarted(table="TBL1"))
    stale = travelling(table.saga.deadline)  # type: ignore[arg-type]
    table.when(MenuGot(menu=(MenuOffer(*OFFER),)))
    assert not OutboxMessage.objects.filter(pk=stale.envelope.message_id).exists(), "it was taken back"
    hand(stale)
    assert table.saga.state == SHOWING_MENU
    row = InboxMessage.objects.get(message_id=stale.envelope.message_id)
    assert (row.status, row.detail) == (
        "ignored",
        "it went on before this deadline passed, and is showing_menu",
    )


def test_a_saga_that_ended_has_no_deadline_left() -> None:
    with transaction.atomic():
        saga = TableService.begin(StartTableService(table="TBL1"))
    deliver(later=True)
    assert TableService.objects.get(pk=saga).deadline is None
    assert not OutboxMessage.objects.filter(type="DeadlinePassed").exists()


def test_a_state_of_many_steps_does_not_set_a_deadline_with_each() -> None:
    table = baking((OrderLine(3, "pmghr", "xl", 1400, "EUR"),))
    before = table.saga.deadline
    first, second, _third = table.pizzas()
    table.when(PizzaDone(first))
    assert table.saga.deadline == before
    TableService.objects.filter(pk=table.id).update(deadline_at=timezone.now() + timedelta(minutes=14))
    table.when(PizzaDone(second))
    assert table.saga.deadline != before, "less than half of it was left"
    assert OutboxMessage.objects.filter(type="DeadlinePassed").count() == 1


def test_patience_scales_deadlines(settings: Settings) -> None:
    settings.PIZZAHOUSE_PATIENCE = 0.5
    table = Table(STARTED).when(TableServiceStarted(table="TBL1"))
    (row,) = OutboxMessage.objects.filter(type="DeadlinePassed")
    assert row.payload == {"state": GETTING_MENU, "within": 150.0, "asked": 0}
    assert table.saga.deadline == row.id


# --- With the whole house -------------------------------------------------------------------------


def served(saga: UUID) -> int:
    return sum(Deed.objects.filter(visit=saga, kind="pizzas_served").values_list("pizzas", flat=True))


def test_a_sold_out_pizza_leads_to_another_order_and_a_paid_bill() -> None:
    Stock.objects.filter(pk="pmghr").update(left=1)
    with transaction.atomic():
        saga = TableService.begin(StartTableService(table="TBL1", wish=(Wish(2, "pmghr", "xl"),)))
    deliver(later=True)
    table = TableService.objects.get(pk=saga)
    assert (table.state, table.round) == (CLOSED, 2)
    assert served(saga) == 2
    discarded = KitchenOrder.objects.filter(visit=saga, status="discarded").count()
    assert Stock.objects.get(pk="pmghr").left + discarded == 1
    assert dict(Till.objects.values_list("currency", "amount")) == Bill.objects.get(visit=saga).amounts


def test_two_refused_rounds_are_called_off(settings: Settings) -> None:
    settings.PIZZAHOUSE_MISHAPS = settings.PIZZAHOUSE_MISHAPS | {"burned": 1.0}
    with transaction.atomic():
        saga = TableService.begin(StartTableService(table="TBL1", wish=(Wish(2, "pmghr", "xl"),)))
    deliver(later=True)
    assert TableService.objects.get(pk=saga).state == CALLED_OFF
    assert served(saga) == 0
    assert not Bill.objects.exists()
    assert not InboxMessage.objects.exclude(status__in=("done", "ignored")).exists()


def test_guests_to_whom_nothing_can_be_offered_leave() -> None:
    Stock.objects.update(left=0)
    MenuItem.objects.exclude(pk="pmghr").delete()
    with transaction.atomic():
        saga = TableService.begin(StartTableService(table="TBL1"))
    deliver(later=True)
    assert TableService.objects.get(pk=saga).state == CALLED_OFF
    assert Deed.objects.filter(visit=saga, kind="client_left").count() == 1


def test_an_unanswered_saga_is_called_off_after_its_time_by_itself() -> None:
    with transaction.atomic():
        saga = TableService.begin(StartTableService(table="TBL1"))
    hand(letters("StartTableService")[0])
    OutboxMessage.objects.filter(type="TableServiceStarted").delete()
    deliver(later=timedelta(hours=12))
    assert TableService.objects.get(pk=saga).state == CALLED_OFF
