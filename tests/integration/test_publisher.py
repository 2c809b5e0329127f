"""The publisher on the real broker: many in flight, each confirmed, and none lost when the wire is cut."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from uuid import UUID

import pytest
from pika.exceptions import ChannelClosedByBroker
from uuid_utils.compat import uuid7

from pizzahouse.messaging import relay
from pizzahouse.messaging.broker import SafeRabbitmqBroker
from pizzahouse.messaging.envelope import Envelope, Letter
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from pizzahouse.messaging.publisher import RabbitmqPublisher
from tests.integration.conftest import OpenWorker, Rabbit
from tests.integration.wire import Wire
from tests.servers import RABBITMQ, OwnRabbit, wait_until
from tests.unit.postoffice import Counter, SendParcel, committed, post


class Ledger:
    """What a relay would hear: which messages the broker confirmed."""

    def __init__(self) -> None:
        self.confirmed: list[UUID] = []

    def confirm(self, message_ids: Sequence[UUID]) -> None:
        self.confirmed.extend(message_ids)

    def has(self, letters: list[Letter]) -> bool:
        return {letter.envelope.message_id for letter in letters} <= set(self.confirmed)


Publishing = tuple[RabbitmqPublisher, Ledger]
Open = Callable[..., Publishing]


@pytest.fixture
def open_publisher(rabbit: Rabbit) -> Iterator[Open]:
    """Starts a publisher for the queue of the tests, over any wire."""
    with ExitStack() as opened:

        def open_one(url: str = RABBITMQ.url) -> Publishing:
            broker = SafeRabbitmqBroker(url=url, middleware=[])
            broker.declare_queue(f"{rabbit.prefix}tests")
            publisher, ledger = broker.publisher(), Ledger()
            assert isinstance(publisher, RabbitmqPublisher)
            publisher.start(ledger)  # type: ignore[arg-type]
            opened.callback(publisher.stop, 0.0)
            return publisher, ledger

        yield open_one


def some(count: int, size: int = 0) -> list[Letter]:
    payload = json.dumps({"note": "x" * size}).encode()
    return [
        Letter(Envelope(message_id=uuid7(), type="SendParcel", destination="tests"), payload)
        for _ in range(count)
    ]


def ids(bodies: list[bytes]) -> set[str]:
    return {json.loads(body)["message_id"] for body in bodies}


def all_of(letters: list[Letter]) -> set[str]:
    return {str(letter.envelope.message_id) for letter in letters}


# --- In the ordinary run of things ----------------------------------------------------------------


def test_many_are_in_flight_at_once_and_each_is_confirmed(rabbit: Rabbit, open_publisher: Open) -> None:
    publisher, ledger = open_publisher()
    wait_until(lambda: publisher.ready, 10, "it is connected")
    letters = some(3000)
    began = time.monotonic()
    for number in range(0, 3000, 5):
        publisher.publish(letters[number : number + 5])
    wait_until(lambda: ledger.has(letters), 20, "all are confirmed")
    took = time.monotonic() - began
    assert len(ledger.confirmed) == 3000, "each once"
    assert rabbit.ready() == 3000
    assert took < 6, "a round trip for each would take longer"


def test_what_is_published_is_durable_and_says_its_id(rabbit: Rabbit, open_publisher: Open) -> None:
    publisher, ledger = open_publisher()
    letters = some(1)
    publisher.publish(letters)
    wait_until(lambda: ledger.has(letters), 10, "it is confirmed")
    with rabbit.channel() as channel:
        _, properties, body = channel.basic_get(f"{rabbit.prefix}tests", auto_ack=True)
        assert (properties.delivery_mode, properties.message_id) == (2, all_of(letters).pop())
        assert body == letters[0].seal()
        with pytest.raises(ChannelClosedByBroker, match="durable"):
            channel.queue_declare(f"{rabbit.prefix}tests", durable=False)


def test_several_threads_publish_at_once(rabbit: Rabbit, open_publisher: Open) -> None:
    publisher, ledger = open_publisher()
    letters = some(1600)
    shares = [letters[share::8] for share in range(8)]

    def publish(share: list[Letter]) -> None:
        for letter in share:
            publisher.publish([letter])

    threads = [threading.Thread(target=publish, args=[share]) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    wait_until(lambda: ledger.has(letters), 20, "all are confirmed")
    assert ids(rabbit.take_all()) == all_of(letters)


def test_a_publisher_that_is_full_says_so(rabbit: Rabbit, wire: Wire, open_publisher: Open) -> None:
    publisher, ledger = open_publisher(wire.url)
    wait_until(lambda: publisher.ready, 10, "it is connected")
    wire.hold()
    letters = some(5000)
    publisher.publish(letters)
    assert not publisher.ready
    wire.release()
    wait_until(lambda: publisher.ready, 20, "it takes more again")
    wait_until(lambda: ledger.has(letters), 20, "all are confirmed")


# --- When the wire is cut -------------------------------------------------------------------------


def test_what_was_not_confirmed_when_the_wire_was_cut_is_published_again(
    rabbit: Rabbit, wire: Wire, open_publisher: Open
) -> None:
    publisher, ledger = open_publisher(wire.url)
    wait_until(lambda: publisher.ready, 10, "it is connected")
    letters = some(1500, size=500)
    for number in range(0, len(letters), 10):
        publisher.publish(letters[number : number + 10])
        if number in (200, 900):
            wire.cut()
    wait_until(lambda: ledger.has(letters), 20, "all are confirmed")
    assert ids(rabbit.take_all()) == all_of(letters)


def test_what_is_published_while_the_broker_is_away_is_sent_when_it_is_there(
    rabbit: Rabbit, wire: Wire, open_publisher: Open
) -> None:
    wire.down()
    publisher, ledger = open_publisher(wire.url)
    letters = some(10)
    publisher.publish(letters)
    assert not publisher.ready
    wire.up()
    wait_until(lambda: ledger.has(letters), 10, "all are confirmed")
    assert ids(rabbit.take_all()) == all_of(letters)


def test_a_broker_that_went_away_is_found_again(rabbit: Rabbit, wire: Wire, open_publisher: Open) -> None:
    publisher, ledger = open_publisher(wire.url)
    for _ in range(3):
        wait_until(lambda: publisher.ready, 15, "it is connected")
        wire.down()
        wait_until(lambda: not publisher.ready, 10, "it knows")
        wire.up()
    letters = some(1)
    publisher.publish(letters)
    wait_until(lambda: ledger.has(letters), 15, "it is confirmed")
    assert wire.connections == 1


def test_a_connection_that_carries_nothing_is_left(rabbit: Rabbit, wire: Wire, open_publisher: Open) -> None:
    publisher, ledger = open_publisher(f"{wire.url}?heartbeat=1")
    wait_until(lambda: publisher.ready, 10, "it is connected")
    wire.hold()
    publisher.publish(some(3))
    wait_until(lambda: not publisher.ready, 30, "its heartbeat tells")  # pika adds 5 s, twice
    assert ledger.confirmed == []
    wire.release()
    later = some(1)
    publisher.publish(later)
    wait_until(lambda: ledger.has(later), 15, "it is published over another connection")


def test_a_broker_that_takes_nothing_for_a_while_is_waited_for(
    rabbit: Rabbit, own_rabbitmq: OwnRabbit
) -> None:
    broker = SafeRabbitmqBroker(url=own_rabbitmq.url, middleware=[])
    broker.declare_queue(f"{rabbit.prefix}tests")
    publisher, ledger = broker.publisher(), Ledger()
    publisher.start(ledger)  # type: ignore[arg-type]
    wait_until(lambda: publisher.ready, 10, "it is connected")
    own_rabbitmq.control("set_vm_memory_high_watermark", "0.000001")
    try:
        letters = some(20)
        publisher.publish(letters)
        with pytest.raises(AssertionError):
            wait_until(lambda: ledger.confirmed, 1, "it is confirmed")
    finally:
        own_rabbitmq.control("set_vm_memory_high_watermark", "0.6")
    wait_until(lambda: ledger.has(letters), 15, "all are confirmed")
    publisher.stop(5)


# --- When the queue is gone -----------------------------------------------------------------------


def test_a_message_to_a_deleted_queue_is_not_taken_for_sent_and_the_queue_comes_back(
    rabbit: Rabbit, open_publisher: Open
) -> None:
    publisher, ledger = open_publisher()
    wait_until(lambda: publisher.ready and rabbit.ready() == 0, 10, "it is connected")
    rabbit.delete()
    lost = some(3)
    publisher.publish(lost)
    wait_until(lambda: rabbit.ready() >= 0, 10, "the queue is there again")
    later = some(1)
    publisher.publish(later)
    wait_until(lambda: ledger.has(later), 10, "what comes later is confirmed")
    assert set(ledger.confirmed) & {letter.envelope.message_id for letter in lost} == set()
    publisher.publish(lost)  # as the relay does when its lease has run out
    wait_until(lambda: ledger.has(lost), 10, "they are confirmed")
    assert ids(rabbit.take_all()) == all_of(lost + later)


@committed
def test_a_message_to_a_deleted_queue_is_delivered_after_all(
    rabbit: Rabbit, counter: Counter, open_worker: OpenWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "LEASE_SECONDS", 2.0)
    broker = SafeRabbitmqBroker(url=RABBITMQ.url, middleware=[])
    broker.declare_queue(f"{rabbit.prefix}tests")
    publisher = broker.publisher()
    relay.start(publisher)
    try:
        wait_until(lambda: publisher.ready and rabbit.ready() == 0, 10, "it is connected")
        rabbit.delete()
        post(SendParcel(note="to nowhere"))
        wait_until(lambda: rabbit.ready() == 1, 10, "it is in the queue")
        wait_until(lambda: not OutboxMessage.objects.filter(sent_at=None).exists(), 5, "it is marked")
    finally:
        relay.stop()
    open_worker()
    wait_until(lambda: InboxMessage.objects.filter(status="done").exists(), 10, "it is handled")


# --- The end --------------------------------------------------------------------------------------


def test_a_publisher_that_stops_waits_for_what_is_under_way(rabbit: Rabbit, open_publisher: Open) -> None:
    publisher, ledger = open_publisher()
    wait_until(lambda: publisher.ready, 10, "it is connected")
    letters = some(500)
    publisher.publish(letters)
    publisher.stop(10)
    assert ledger.has(letters)
    assert rabbit.ready() == 500


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def test_a_publisher_stops_at_once_while_the_broker_is_away(wire: Wire, open_publisher: Open) -> None:
    wire.down()
    publisher, _ = open_publisher(wire.url)
    publisher.publish(some(5))
    wait_until(publisher._thread.is_alive, 5, "it seeks the broker")
    with at_most(2):
        publisher.stop(10)


def test_a_publisher_that_is_stopped_as_soon_as_it_started_leaves_nothing_behind(
    rabbit: Rabbit, wire: Wire, open_publisher: Open
) -> None:
    for _ in range(5):
        publisher, _ = open_publisher(wire.url)
        with at_most(3):
            publisher.stop(10)
        assert not publisher._thread.is_alive()
    wait_until(lambda: wire.connections == 0, 5, "no connection is left")


def test_a_publisher_that_is_stopped_twice_stops(rabbit: Rabbit, open_publisher: Open) -> None:
    publisher, _ = open_publisher()
    wait_until(lambda: publisher.ready, 10, "it is connected")
    publisher.stop(5)
    with at_most(1):
        publisher.stop(5)


# --- With the relay -------------------------------------------------------------------------------


@committed
def test_a_relay_publishes_all_that_was_put_while_the_wire_is_cut(rabbit: Rabbit, wire: Wire) -> None:
    broker = SafeRabbitmqBroker(url=wire.url, middleware=[])
    broker.declare_queue(f"{rabbit.prefix}tests")
    relay.start(broker.publisher())
    try:
        for number in range(100):
            post(SendParcel(note=str(number)))
            if number in (30, 60):
                wire.cut()
        wait_until(lambda: not OutboxMessage.objects.filter(sent_at=None).exists(), 20, "all are marked")
    finally:
        relay.stop()
    put = {str(message_id) for message_id in OutboxMessage.objects.values_list("id", flat=True)}
    assert ids(rabbit.take_all()) == put


@committed
def test_a_relay_that_stops_publishes_and_marks_what_it_has(rabbit: Rabbit) -> None:
    broker = SafeRabbitmqBroker(url=RABBITMQ.url, middleware=[])
    broker.declare_queue(f"{rabbit.prefix}tests")
    publisher = broker.publisher()
    relay.start(publisher)
    wait_until(lambda: publisher.ready, 10, "it is connected")
    for number in range(50):
        post(SendParcel(note=str(number)))
    relay.stop()
    assert not OutboxMessage.objects.filter(sent_at=None).exists()
    assert rabbit.ready() == 50
