"""Claims while many deliver at once, each over a connection of its own."""

import threading
from collections.abc import Sequence
from uuid import UUID

import pytest
from django.db import models, transaction
from msgspec import structs
from pytest_django import Settings
from uuid_utils.compat import uuid7

from kitchen.contracts import CancelPizza, DoPizza, PizzaDone
from kitchen.models import KitchenOrder, Stock
from orders.contracts import Cancel, StartTableService
from orders.table_service import ORDERING, TableService
from pizzahouse.messaging import failures, outbox, outstanding, relay
from pizzahouse.messaging.envelope import Letter
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from pizzahouse.messaging.testing import deliver, hand, letters, sent
from tests.threads import at_once, wait_for_waiters
from tests.unit.postoffice import (
    Counter,
    ParcelSent,
    SendParcel,
    claim,
    committed,
    leave_a_trace,
    post,
    redeliver,
    traces,
    travelling,
)
from tests.unit.test_table_service import LINES, Table
from waiter.contracts import OrderLine, OrderPlaced, ServePizzas
from waiter.models import Deed

pytestmark = committed
THREADS = 8


def deliver_at_once(deliveries: Sequence[Letter]) -> None:
    at_once(*(lambda letter=letter: hand(letter) for letter in deliveries))


@pytest.mark.parametrize("way", ["saved", "recorded", "only answered"])
def test_a_message_that_eight_deliver_at_once_is_handled_once(counter: Counter, way: str) -> None:
    def handle(command: SendParcel) -> ParcelSent:
        if way == "saved":
            leave_a_trace()
        elif way == "recorded":
            outbox.record(KitchenOrder(id=UUID(int=1), code="a", size="b"))
        return ParcelSent()

    counter.on_parcel = handle
    for _ in range(3):
        letter = post()
        deliver_at_once([letter] * THREADS)
        kept = claim(letter)
        assert (kept.status, kept.attempts, kept.repeats) == ("done", 1, THREADS - 1)
        KitchenOrder.objects.all().delete()
    assert len(sent("ParcelSent")) == 3
    assert traces() == (3 if way == "saved" else 0)


def test_eight_failures_at_once_are_each_counted(counter: Counter, settings: Settings) -> None:
    settings.MESSAGING = settings.MESSAGING | {"MAX_ATTEMPTS": 100}
    counter.on_parcel = lambda command: 1 / 0
    letter = post()
    deliver_at_once([letter] * THREADS)
    kept = claim(letter)
    assert (kept.status, kept.attempts) == ("failed", THREADS)
    assert sorted(each["attempt"] for each in kept.failures or ()) == list(range(1, THREADS + 1))


def test_a_delivery_that_fails_beside_one_that_succeeds_is_forgotten(counter: Counter) -> None:
    turn = threading.Barrier(2)

    def handle(command: SendParcel) -> ParcelSent:
        mine = turn.wait(20)
        leave_a_trace()
        if mine == 0:
            raise OSError
        return ParcelSent()

    counter.on_parcel = handle
    for _ in range(5):
        letter = post()
        deliver_at_once([letter, letter])
        assert claim(letter).status == "done"
    assert traces() == 5
    assert len(sent("ParcelSent")) == 5


def test_eight_pizzas_that_are_done_at_once_are_all_counted() -> None:
    for _ in range(3):
        table = Table(ORDERING).when(
            OrderPlaced(table="TBL1", lines=(OrderLine(THREADS, "pmghr", "xl", 1400, "EUR"),))
        )
        deliver_at_once([table.tell(PizzaDone(pizza)) for pizza in table.pizzas()])
        assert (table.saga.state, table.saga.baking, table.saga.version) == ("serving", 0, THREADS + 1)
        assert sent("ServePizzas", saga=table.id) == [ServePizzas(table="TBL1", pizzas=THREADS)]


def test_a_pizza_that_eight_call_done_at_once_is_counted_once() -> None:
    table = Table(ORDERING).when(OrderPlaced(table="TBL1", lines=LINES[:1]))
    first, second = table.pizzas()
    deliver_at_once([table.tell(PizzaDone(first)) for _ in range(THREADS)])
    assert (table.saga.state, table.saga.baking) == ("baking", 1)
    deliver_at_once([table.tell(PizzaDone(second)) for _ in range(THREADS)])
    assert len(sent("ServePizzas", saga=table.id)) == 1


def test_a_table_that_eight_start_at_once_is_started_once() -> None:
    with transaction.atomic():
        saga = TableService.begin(StartTableService(table="TBL1"))
    (start,) = [letter for letter in _letters(saga) if letter.envelope.type == "StartTableService"]
    deliver_at_once([start] * THREADS)
    assert TableService.objects.count() == 1
    assert len(sent("TableServiceStarted", saga=saga)) == 1


def test_a_table_whose_start_was_put_eight_times_is_started_once() -> None:
    saga = UUID(int=77)
    with transaction.atomic():
        ids = [
            outbox.put(StartTableService(table="TBL1"), to=TableService.address(), saga=saga)
            for _ in range(THREADS)
        ]
    deliver_at_once([travelling(message_id) for message_id in ids])
    deliver(later=True)
    assert TableService.objects.get().state == "closed"
    assert len(sent("TableServiceStarted", saga=saga)) == 1
    assert len(sent("ShowBill", saga=saga)) == 1
    assert not InboxMessage.objects.filter(status__in=("failed", "dead")).exists()


def test_tables_served_by_eight_at_once_are_each_served_once() -> None:
    with transaction.atomic():
        sagas = [TableService.begin(StartTableService(table="TBL1")) for _ in range(6)]
    at_once(*[lambda: deliver(later=True)] * THREADS)
    deliver(later=True)
    for saga in sagas:
        assert TableService.objects.get(pk=saga).state == "closed"
        assert len(sent("ServePizzas", saga=saga)) == len(sent("ShowBill", saga=saga)) == 1
        assert KitchenOrder.objects.filter(visit=saga).count() == 5
        assert outstanding.of(saga) == []


def test_sending_again_while_it_is_handled_does_no_harm(counter: Counter) -> None:
    saga = UUID(int=5)
    counter.on_parcel = lambda command: leave_a_trace()
    parcels = [post(saga=saga) for _ in range(5)]
    at_once(
        *(lambda letter=letter: hand(letter) for letter in parcels),
        *[lambda: outstanding.send_again(saga)] * 3,
    )
    deliver(later=True, twice=True)
    assert traces() == 5
    assert set(InboxMessage.objects.values_list("status", flat=True)) == {"done"}


# --- Taken back while it is handled ---------------------------------------------------------------


def send_with_a_trace(command: SendParcel) -> ParcelSent:
    leave_a_trace(command.note)
    return ParcelSent(note=command.note)


@pytest.mark.parametrize("way", ["first", "again", "failed before"])
def test_what_is_withdrawn_while_it_is_handled_is_either_withdrawn_or_handled(
    counter: Counter, way: str
) -> None:
    for attempt in range(6):
        saga = UUID(int=attempt + 1)
        counter.on_parcel = lambda command: 1 / 0
        parcels = [post(SendParcel(note=str(number)), saga=saga) for number in range(THREADS)]
        if way == "failed before":
            for letter in parcels:
                hand(letter)
        counter.on_parcel = send_with_a_trace
        handle = redeliver if way == "again" else hand
        back: list[UUID] = []

        def withdraw(saga: UUID = saga, back: list[UUID] = back) -> None:
            back.extend(each.message_id for each in outstanding.withdraw(saga, SendParcel, why="called off"))

        at_once(*(lambda letter=letter, handle=handle: handle(letter) for letter in parcels), withdraw)
        claims = {row.message_id: row for row in InboxMessage.objects.filter(saga_id=saga, type="SendParcel")}
        statuses = {message_id: row.status for message_id, row in claims.items()}
        done = {letter.envelope.message_id for letter in parcels} - set(back)
        assert statuses == dict.fromkeys(done, "done") | dict.fromkeys(back, "ignored")
        notes = {str(n) for n, letter in enumerate(parcels) if letter.envelope.message_id in done}
        assert set(Deed.objects.values_list("table", flat=True)) == notes
        assert traces() == len(sent("ParcelSent", saga=saga)) == len(done)
        for letter in parcels:
            hand(letter)
        assert traces() == len(done), "what comes later changes nothing"
        Deed.objects.all().delete()


def test_what_fails_for_the_first_time_while_it_is_withdrawn_is_withdrawn(counter: Counter) -> None:
    saga = uuid7()
    letter = post(saga=saga)
    recorded = threading.Event()

    def fail() -> None:
        with transaction.atomic():
            failures.record_failure(letter.envelope, "tests.SendParcel", OSError("cold"), {})
            recorded.set()
            wait_for_waiters()

    def withdraw() -> None:
        assert recorded.wait(20)
        back = outstanding.withdraw(saga, why="nobody wants it")
        assert [each.message_id for each in back] == [letter.envelope.message_id]

    at_once(fail, withdraw)
    assert claim(letter).status == "ignored"


def test_a_copy_that_the_relay_sends_while_another_worker_is_at_it_waits_for_nobody(counter: Counter) -> None:
    letter = post()
    copy = structs.replace(letter, envelope=structs.replace(letter.envelope, sends=1))
    held, handed = threading.Event(), threading.Event()

    def hold() -> None:
        with failures.held(letter.envelope, wait=True):
            held.set()
            assert handed.wait(20)

    def hand_over() -> None:
        assert held.wait(20)
        hand(copy)
        handed.set()

    at_once(hold, hand_over)
    assert not InboxMessage.objects.exists()
    hand(copy)
    assert claim(letter).status == "done"


def test_what_is_delivered_again_while_it_is_pruned_is_not_handled_again(counter: Counter) -> None:
    counter.on_parcel = lambda command: leave_a_trace()
    letter = post()
    hand(letter)
    deleted = threading.Event()

    def prune() -> None:
        with transaction.atomic():
            InboxMessage.objects.all().delete()
            OutboxMessage.objects.all().delete()
            deleted.set()
            wait_for_waiters()

    def deliver_again() -> None:
        assert deleted.wait(20)
        redeliver(letter)

    at_once(prune, deliver_again)
    assert traces() == 1
    assert claim(letter).status == "ignored"


def test_two_that_withdraw_at_once_leave_nothing_to_handle(counter: Counter) -> None:
    saga = UUID(int=5)
    counter.on_parcel = lambda command: leave_a_trace()
    parcels = [post(saga=saga) for _ in range(20)]
    at_once(*[lambda: outstanding.withdraw(saga, why="called off")] * THREADS)
    deliver_at_once(parcels[:THREADS])
    assert deliver(later=True) == traces() == 0
    assert set(InboxMessage.objects.values_list("status", "detail")) == {("ignored", "withdrawn: called off")}


# --- The kitchen ----------------------------------------------------------------------------------

VISIT = UUID(int=5)


def stock_up(left: int) -> None:
    Stock.objects.update_or_create(code="pmghr", defaults={"left": left})


def tell_kitchen(command: DoPizza | CancelPizza) -> Letter:
    return post(command, saga=VISIT, reply_to=TableService.address())


def baked() -> dict[str, int]:
    """How many pizzas there are of each status."""
    return dict(KitchenOrder.objects.values_list("status").annotate(models.Count("id")).order_by())


def left() -> int:
    return Stock.objects.get(code="pmghr").left


def test_of_five_pizzas_that_twenty_want_at_once_five_are_baked_and_the_others_refused() -> None:
    for _ in range(3):
        stock_up(5)
        orders = [tell_kitchen(DoPizza(uuid7(), "pmghr", "xl")) for _ in range(20)]
        deliver_at_once(orders)
        assert left() == 0
        assert baked() == {"taken": 5, "refused": 15}
        assert len(sent("PizzaDone")) == 5
        assert len(sent("PizzaRefused")) == 15
        claims = InboxMessage.objects.filter(type="DoPizza").values_list("status", "attempts")
        assert set(claims) == {("done", 1)}, "to be refused is no failure"
        deliver_at_once(orders)
        assert (left(), baked()) == (0, {"taken": 5, "refused": 15})
        KitchenOrder.objects.all().delete()
        OutboxMessage.objects.all().delete()


@pytest.mark.parametrize("pace", [0.0, 30.0], ids=["baked at once", "long in the oven"])
@pytest.mark.parametrize("times", [1, 2])
def test_pizzas_that_are_ordered_and_cancelled_at_once_are_each_accounted_for(
    settings: Settings, pace: float, times: int
) -> None:
    settings.PIZZAHOUSE_PACE = pace
    for _ in range(4):
        stock_up(THREADS)
        pizzas = [uuid7() for _ in range(THREADS)]
        orders = [tell_kitchen(DoPizza(pizza, "pmghr", "xl")) for pizza in pizzas]
        cancels = [tell_kitchen(CancelPizza(pizza)) for pizza in pizzas for _ in range(times)]
        deliver_at_once([letter for pair in zip(orders, cancels[::times], strict=True) for letter in pair])
        for letter in (*orders, *cancels):
            hand(letter)
        counts = baked()
        assert counts.keys() <= {"cancelled", "discarded"}
        assert sum(counts.values()) == THREADS
        assert left() + counts.get("discarded", 0) == THREADS
        assert len(sent("PizzaDone")) == counts.get("discarded", 0), "what was taken out is never done"
        assert len(sent("PizzaCancelled")) == THREADS * times
        assert not InboxMessage.objects.filter(status__in=("failed", "dead")).exists()
        KitchenOrder.objects.all().delete()
        OutboxMessage.objects.all().delete()


def test_a_pizza_that_is_cancelled_while_a_relay_takes_it_from_the_oven_is_given_back_or_done() -> None:
    stock_up(THREADS)
    for _ in range(4):
        orders = [DoPizza(uuid7(), "pmghr", "xl") for _ in range(THREADS)]
        for order in orders:
            hand(tell_kitchen(order))
        # They have been in the oven, and are done at this moment.
        OutboxMessage.objects.filter(type="PizzaDone").update(due_at=models.F("available_at"))
        cancels = [tell_kitchen(CancelPizza(order.kitchen_order_id)) for order in orders]
        OutboxMessage.objects.exclude(type="PizzaDone").update(available_at=None)
        taken: list[Letter] = []

        def take(taken: list[Letter] = taken) -> None:
            taken.extend(relay.take_pending(3))

        at_once(*(lambda letter=letter: hand(letter) for letter in cancels), take, take)
        done = {message.kitchen_order_id for message in sent("PizzaDone") if isinstance(message, PizzaDone)}
        discarded = set(KitchenOrder.objects.filter(status="discarded").values_list("id", flat=True))
        assert done == discarded
        assert {letter.envelope.message_id for letter in taken} >= set(
            OutboxMessage.objects.filter(type="PizzaDone").values_list("id", flat=True)
        )
        assert left() + len(discarded) == THREADS
        KitchenOrder.objects.all().delete()
        OutboxMessage.objects.all().delete()
        stock_up(THREADS)


def test_a_table_that_is_cancelled_while_its_pizzas_are_begun_wastes_and_loses_none() -> None:
    for _ in range(3):
        stock_up(THREADS)
        table = Table(ORDERING).when(
            OrderPlaced(table="TBL1", lines=(OrderLine(THREADS, "pmghr", "xl", 1400, "EUR"),))
        )
        orders = [letter for letter in _letters(table.id) if letter.envelope.type == "DoPizza"]
        cancel = table.tell(Cancel(by="anna", reason="a fly in the soup"))
        deliver_at_once([*orders[:4], cancel, *orders[4:]])
        deliver(later=True)
        counts = baked()
        assert table.saga.state == "called_off"
        assert counts.keys() <= {"cancelled", "discarded"}
        assert left() + counts.get("discarded", 0) == THREADS
        assert outstanding.of(table.id) == []
        assert not InboxMessage.objects.filter(status__in=("failed", "dead")).exists()
        KitchenOrder.objects.all().delete()


def _letters(saga: UUID) -> list[Letter]:
    return [letter for letter in letters() if letter.envelope.saga == saga]
