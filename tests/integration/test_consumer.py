"""The consumer on the real broker: what it acknowledges is done, and what is not done comes again."""

import json
import threading
from collections import Counter as Tally
from functools import partial
from typing import Any

import psycopg
import pytest
from django.db import connection
from dramatiq.broker import Consumer
from dramatiq.brokers.rabbitmq import _RabbitmqConsumer

from pizzahouse.messaging.broker import SafeRabbitmqBroker
from pizzahouse.messaging.envelope import Letter
from pizzahouse.messaging.models import InboxMessage
from tests.integration.conftest import OpenWorker, Rabbit
from tests.integration.wire import Wire
from tests.servers import POSTGRESQL, wait_until
from tests.unit.postoffice import Counter, SendParcel, claim, committed, leave_a_trace, post, traces
from tests.unit.test_broker import BODIES

pytestmark = committed


class DramatiqsOwn(SafeRabbitmqBroker):
    """Our broker, with the consumer that Dramatiq brings along."""

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        self.declare_queue(queue_name, ensure=True)
        return _RabbitmqConsumer(self, queue_name, prefetch, timeout)  # type: ignore[no-untyped-call]


class Gates:
    """A handler in which each parcel waits until the test lets it go on."""

    def __init__(self) -> None:
        self.entered: list[str] = []
        self.handled: list[str] = []
        self.open: Tally[str] = Tally()
        self.changed = threading.Condition()

    def __call__(self, command: SendParcel) -> None:
        with self.changed:
            self.entered.append(command.note)
            leave_a_trace(command.note)
            assert self.changed.wait_for(lambda: self.open["all"] or self.open[command.note], 60)
            self.handled.append(command.note)

    def let(self, *notes: str) -> None:
        with self.changed:
            self.open.update(notes)
            self.changed.notify_all()


@pytest.fixture
def gates(counter: Counter, open_worker: OpenWorker) -> Any:
    """They open before the workers are stopped."""
    gates = Gates()
    counter.on_parcel = gates
    yield gates
    gates.let("all")


def send(rabbit: Rabbit, *notes: str) -> list[Letter]:
    rabbit.declare()
    letters = [post(SendParcel(note=note)) for note in notes]
    rabbit.send(*(letter.seal() for letter in letters))
    return letters


def notes(bodies: list[bytes]) -> list[str]:
    return sorted(json.loads(body)["kwargs"]["payload"]["note"] for body in bodies)


def handled() -> int:
    return InboxMessage.objects.filter(status="done").count()


def more_than(before: int) -> bool:
    return handled() > before


# --- The trap -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "left"),
    [(SafeRabbitmqBroker, ["running", "waiting"]), (DramatiqsOwn, ["running"])],
    ids=["ours keeps it", "dramatiq's own loses it"],
)
def test_a_late_acknowledgement_after_a_reconnect(
    kind: type[SafeRabbitmqBroker],
    left: list[str],
    rabbit: Rabbit,
    wire: Wire,
    gates: Gates,
    open_worker: OpenWorker,
) -> None:
    """The connection drops while a handler runs, the handler finishes, and the process dies."""
    worker = open_worker(wire.url, kind, threads=1)
    send(rabbit, "first", "running", "waiting")
    gates.let("first")
    wait_until(lambda: gates.entered == ["first", "running"], 10, "the second handler runs")
    wait_until(lambda: worker.work_queue.qsize() == 1, 10, "the third message is prefetched")
    wire.cut()
    wait_until(lambda: worker.work_queue.qsize() == 3, 10, "both are delivered again, over a new connection")
    gates.let("running")
    wait_until(lambda: gates.entered[-1] == "waiting", 10, "the handler is done and the next one runs")
    # Whatever the acknowledgement hits is gone from the broker by now, or never will be.
    consumer = next(iter(worker.consumers.values())).consumer
    settled = threading.Event()
    consumer.connection.add_callback_threadsafe(settled.set)  # type: ignore[union-attr]
    assert settled.wait(10)
    wire.down()  # as if the process were killed
    wait_until(lambda: not rabbit.consumers(), 10, "the broker knows")
    assert notes(rabbit.take_all()) == left
    assert InboxMessage.objects.count() == 2, "the third was never handled"


# --- What comes from outside ----------------------------------------------------------------------


def test_whatever_stands_in_the_queue_the_worker_goes_on(
    rabbit: Rabbit, counter: Counter, open_worker: OpenWorker
) -> None:
    counter.on_parcel = lambda command: leave_a_trace()
    rabbit.declare()
    rabbit.send(*(each if isinstance(each, bytes) else json.dumps(each).encode() for each in BODIES.values()))
    (good,) = send(rabbit, "good")
    rabbit.send(json.dumps(json.loads(good.seal()) | {"queue_name": "somewhere.else"}).encode())
    worker = open_worker()
    wait_until(lambda: rabbit.ready() == 0, 15, "the queue is empty")
    wait_until(
        lambda: InboxMessage.objects.filter(status="done", repeats=1).exists(), 10, "the good is handled"
    )
    worker.stop(timeout=10_000)
    assert rabbit.ready() == 0, "none came back"
    assert traces() == 1
    assert InboxMessage.objects.filter(status="dead").count() > 15
    unreadable = InboxMessage.objects.filter(handler="messaging.unreadable")
    assert unreadable.filter(error__contains="nobody here handles 'kitchen.FlyToTheMoon'").exists()


def test_a_queue_that_is_deleted_while_it_is_consumed_comes_back(
    rabbit: Rabbit, counter: Counter, open_worker: OpenWorker
) -> None:
    open_worker()
    wait_until(rabbit.consumers, 10, "it consumes")
    rabbit.delete()
    wait_until(rabbit.consumers, 10, "it consumes again")
    send(rabbit, "after")
    wait_until(handled, 10, "it is handled")


def test_a_queue_that_is_deleted_while_nobody_is_connected_comes_back(
    rabbit: Rabbit, wire: Wire, counter: Counter, open_worker: OpenWorker
) -> None:
    open_worker(wire.url)
    wait_until(rabbit.consumers, 10, "it consumes")
    wire.down()
    rabbit.delete()
    wire.up()
    wait_until(rabbit.consumers, 10, "it consumes again")
    send(rabbit, "after")
    wait_until(handled, 10, "it is handled")


def test_a_consumer_that_finds_no_broker_waits_for_it(
    rabbit: Rabbit, wire: Wire, counter: Counter, open_worker: OpenWorker
) -> None:
    wire.down()
    open_worker(wire.url)
    send(rabbit, "early")
    wire.up()
    wait_until(handled, 15, "it is handled")


def test_a_consumer_keeps_no_connections_of_failed_attempts(
    rabbit: Rabbit, wire: Wire, open_worker: OpenWorker
) -> None:
    with rabbit.channel() as channel:  # its declaration will be refused: it says something else
        channel.queue_declare(f"{rabbit.prefix}tests", durable=False)
        open_worker(wire.url)
        seen: list[int] = []
        wait_until(lambda: seen.append(wire.connections) or len(seen) >= 60, 20, "it has tried a few times")
        channel.queue_delete(f"{rabbit.prefix}tests")
    assert max(seen) <= 2
    wait_until(rabbit.consumers, 15, "it consumes once it may")


# --- When the database goes -----------------------------------------------------------------------


def test_a_handler_whose_database_connection_is_ended_is_delivered_again_and_handled_once(
    rabbit: Rabbit, counter: Counter, open_worker: OpenWorker
) -> None:
    calls: list[str] = []

    def handle(command: SendParcel) -> None:
        leave_a_trace(command.note)
        calls.append(command.note)
        if len(calls) == 1:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                _end(cursor.fetchone()[0])
            leave_a_trace("more")

    counter.on_parcel = handle
    open_worker(relays=True)
    (letter,) = send(rabbit, "parcel")
    wait_until(lambda: handled() == 1, 15, "it is handled")
    assert len(calls) == 2
    assert traces() == 1, "of the second attempt alone"
    assert claim(letter).status == "done"
    assert claim(letter).failures is None, "that was none of the message's fault"


def test_a_connection_that_is_ended_between_two_messages_is_made_anew(
    rabbit: Rabbit, counter: Counter, open_worker: OpenWorker
) -> None:
    backends: set[int] = set()

    def handle(command: SendParcel) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            backends.add(cursor.fetchone()[0])

    counter.on_parcel = handle
    open_worker(threads=1, relays=True)
    for expected in (1, 2, 3):
        send(rabbit, "parcel")
        wait_until(lambda wanted=expected: handled() == wanted, 15, "it is handled")
        for backend in backends:
            _end(backend)
    assert len(backends) == 3
    assert not InboxMessage.objects.exclude(failures=None).exists()


def _end(backend: int) -> None:
    with psycopg.connect(POSTGRESQL.url, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s)", [backend])


# --- Acknowledgements -----------------------------------------------------------------------------


@pytest.mark.parametrize("done", ["3", "312", "20", "0123"])
def test_exactly_what_is_settled_is_acknowledged_whatever_is_done_first(
    done: str, rabbit: Rabbit, wire: Wire, gates: Gates, open_worker: OpenWorker
) -> None:
    names = [*"0123456789ab"]
    send(rabbit, *names)
    open_worker(wire.url, threads=4)  # it prefetches 8
    wait_until(lambda: sorted(gates.entered) == [*"0123"], 10, "four run")
    wait_until(lambda: rabbit.ready() == 4, 10, "four more are prefetched")
    for name in done:
        gates.let(name)
        wait_until(lambda wanted=name: wanted in gates.handled, 10, "it is done")
    wait_until(lambda: rabbit.ready() == 4 - len(done), 10, "the broker has sent as many as it got back")
    wire.down()
    wait_until(lambda: not rabbit.consumers(), 10, "the broker knows")
    assert set(notes(rabbit.take_all())) == set(names) - set(done)


def test_a_worker_that_stops_gives_back_what_it_did_not_begin(
    rabbit: Rabbit, gates: Gates, open_worker: OpenWorker
) -> None:
    worker = open_worker(threads=1)
    send(rabbit, "running", "waiting", "far")
    wait_until(lambda: gates.entered == ["running"], 10, "the first one runs")
    stopping = threading.Thread(target=worker.stop, kwargs={"timeout": 10_000})
    stopping.start()
    wait_until(lambda: not worker.workers[0].running, 10, "it was told to stop")
    gates.let("running")
    stopping.join(15)
    assert not stopping.is_alive()
    assert gates.handled == ["running"]
    assert notes(rabbit.take_all()) == ["far", "waiting"]


def test_a_message_whose_outcome_is_not_on_record_comes_again(
    rabbit: Rabbit, counter: Counter, open_worker: OpenWorker
) -> None:
    calls: list[str] = []

    def handle(command: SendParcel) -> None:
        calls.append(command.note)
        if len(calls) < 3:
            raise SystemExit  # not an error to be recorded: this thread is told to end

    counter.on_parcel = handle
    open_worker(relays=True)
    send(rabbit, "parcel")
    wait_until(lambda: handled() == 1, 15, "it is handled")
    assert len(calls) == 3


def test_many_messages_are_all_handled_and_acknowledged_while_connections_are_cut(
    rabbit: Rabbit, wire: Wire, counter: Counter, open_worker: OpenWorker
) -> None:
    counter.on_parcel = lambda command: leave_a_trace(command.note)
    open_worker(wire.url, threads=4)
    for _ in range(4):
        send(rabbit, *(str(number) for number in range(75)))
        before = handled()
        wait_until(partial(more_than, before), 10, "some are handled")
        wire.cut()
    wait_until(lambda: handled() == 300, 30, "all are handled")
    assert traces() == 300
    wait_until(lambda: rabbit.ready() == 0, 10, "the queue is empty")
