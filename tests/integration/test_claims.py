"""Claims while many deliver at once, each over a connection of its own."""

import threading
from collections.abc import Callable, Sequence
from uuid import UUID

import pytest
from django.db import connection, transaction
from pytest_django import Settings

from kitchen.contracts import PizzaDone
from kitchen.models import KitchenOrder
from orders.contracts import StartTableService
from orders.models import TableService
from orders.table_service import ORDERING
from pizzahouse.messaging import outbox, outstanding
from pizzahouse.messaging.envelope import Letter
from pizzahouse.messaging.models import InboxMessage
from pizzahouse.messaging.testing import deliver, hand, letters, sent
from tests.unit.postoffice import (
    Counter,
    ParcelSent,
    SendParcel,
    claim,
    committed,
    leave_a_trace,
    post,
    traces,
    travelling,
)
from tests.unit.test_table_service import LINES, Table
from waiter.contracts import OrderLine, OrderPlaced, ServePizzas

pytestmark = committed
THREADS = 8


def at_once(*work: Callable[[], object]) -> None:
    """Do it all at the same time, each in a thread of its own; raises what one of them raises."""
    together = threading.Barrier(len(work))
    raised: list[BaseException] = []

    def run(each: Callable[[], object]) -> None:
        try:
            with connection.cursor() as cursor:  # so that connecting does not queue them up
                cursor.execute("SELECT 1")
            together.wait(20)
            each()
        except BaseException as error:  # noqa: BLE001  (raised again below)
            raised.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[each]) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    assert not any(thread.is_alive() for thread in threads)
    if raised:
        raise raised[0]


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


def _letters(saga: UUID) -> list[Letter]:
    return [letter for letter in letters() if letter.envelope.saga == saga]
