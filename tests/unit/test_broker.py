"""What comes from a queue, readable or not, and the broker of a house in one process."""

import json
import time
from typing import Any

import dramatiq
import pytest
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.worker import Worker

from pizzahouse.messaging import relay
from pizzahouse.messaging.broker import EmbeddedBroker, EmbeddedPublisher, RelayMiddleware
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from pizzahouse.messaging.testing import sent
from tests.servers import wait_until
from tests.unit.postoffice import Counter, ParcelSent, SendParcel, committed, leave_a_trace, post, traces

GOOD: dict[str, Any] = {
    "queue_name": "tests",
    "actor_name": "tests.SendParcel",
    "args": [],
    "kwargs": {},
    "options": {},
    "message_id": "00000000-0000-0000-0000-000000000001",
    "message_timestamp": 1,
}
BODIES: dict[str, bytes | dict[str, Any]] = {
    "nothing": b"",
    "garbage": b"what is this?",
    "not UTF-8": b"\xff\xfe\x00",
    "not UTF-8 in a text": b'{"queue_name":"\xff"}',
    "NUL": b"\0",
    "NUL in a text": b'{"queue_name":"\\u0000"}',
    "half a surrogate pair": b'{"queue_name":"\\ud800"}',
    "an array": b"[]",
    "a number": b"1",
    "null": b"null",
    "an object": b"{}",
    "deep": b'{"a":' * 50_000,
    "too large a number": b'{"a":1e999}',
    "an unknown actor": GOOD | {"actor_name": "kitchen.FlyToTheMoon"},
    "a NUL in the actor's name": GOOD | {"actor_name": "a\0b"},
    "an actor's name that is a list": GOOD | {"actor_name": ["tests.SendParcel"]},
    "an actor's name that is null": GOOD | {"actor_name": None},
    "no envelope": GOOD,
    "another field": GOOD | {"surprise": 1},
    "options that are a list": GOOD | {"options": [1]},
    "options that are null": GOOD | {"options": None},
    "arguments that are a number": GOOD | {"args": 1},
    "arguments that are unknown": GOOD | {"args": [1, 2], "kwargs": {"pizza": "margherita"}},
    "keywords that are a list": GOOD | {"kwargs": [1]},
    "keywords that are null": GOOD | {"kwargs": None},
    "a keyword named handler": GOOD | {"kwargs": {"handler": 1}},
    "a keyword named self": GOOD | {"kwargs": {"self": 1}},
    "an id that is none": GOOD | {"message_id": 5, "kwargs": {"envelope": {}, "payload": {}}},
    "a time far away": GOOD | {"options": {"eta": 99_999_999_999_999}},
    "a time that is none": GOOD | {"options": {"eta": "tomorrow"}},
    "a pipe to nowhere": GOOD | {"options": {"pipe_target": {"actor_name": "x"}}},
}


@pytest.fixture
def consumer() -> Consumer:
    broker = dramatiq.get_broker()
    assert isinstance(broker, EmbeddedBroker)
    while not broker.queues["tests"].empty():
        broker.queues["tests"].get()
    return broker.consume("tests", timeout=100)


def arrive(consumer: Any, body: bytes | dict[str, Any]) -> MessageProxy:
    consumer.queue.put(body if isinstance(body, bytes) else json.dumps(body).encode())
    delivery: MessageProxy = next(consumer)
    return delivery


def work(delivery: MessageProxy) -> None:
    """As a worker's thread does it."""
    broker = dramatiq.get_broker()
    broker.get_actor(delivery.actor_name)(*delivery.args, **delivery.kwargs)


@pytest.mark.django_db
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_whatever_comes_that_is_not_ours_is_kept_dead_and_once(
    consumer: Consumer, body: bytes | dict[str, Any]
) -> None:
    for _ in range(2):
        delivery = arrive(consumer, body)
        assert delivery.queue_name == "tests", "or the worker finds no consumer to acknowledge it"
        assert "eta" not in delivery.options, "or it is held for as long, unacknowledged"
        work(delivery)
    kept = InboxMessage.objects.get()
    assert kept.status == "dead"
    assert kept.error != ""
    assert kept.message


@pytest.mark.django_db
def test_what_could_not_be_read_can_be_read_in_the_inbox(consumer: Consumer) -> None:
    work(arrive(consumer, b"what is this?"))
    kept = InboxMessage.objects.get()
    assert "what is this?" in json.dumps(kept.message)
    assert kept.handler == "messaging.unreadable"
    work(arrive(consumer, GOOD | {"actor_name": "kitchen.FlyToTheMoon"}))
    assert InboxMessage.objects.filter(error__contains="nobody here handles").count() == 1


@pytest.mark.django_db
def test_two_bodies_that_cannot_be_read_are_two_rows(consumer: Consumer) -> None:
    for body in (b"\xff\x01", b"\xfe\x01", b"\xfd\x01"):
        work(arrive(consumer, body))
    assert InboxMessage.objects.count() == 3


@pytest.mark.django_db
def test_a_good_message_under_a_foreign_queue_s_name_is_handled(consumer: Consumer, counter: Counter) -> None:
    counter.on_parcel = lambda command: ParcelSent()
    sealed = json.loads(post().seal()) | {"queue_name": "somewhere.else"}
    delivery = arrive(consumer, sealed)
    assert delivery.queue_name == "tests"
    work(delivery)
    assert sent("ParcelSent") == [ParcelSent()]


# --- The embedded house ---------------------------------------------------------------------------


@pytest.fixture
def embedded() -> Any:
    """A worker and its relay in this process, as the embedded house runs them."""
    broker = dramatiq.get_broker()
    assert any(isinstance(each, RelayMiddleware) for each in broker.middleware)
    worker = Worker(broker, worker_threads=4, worker_timeout=50)
    worker.start()
    yield worker
    worker.stop(timeout=10_000)
    assert relay.local() is None


@committed
def test_the_embedded_house_handles_what_is_put(embedded: Worker, counter: Counter) -> None:
    def handle(command: SendParcel) -> ParcelSent:
        leave_a_trace(command.note)
        return ParcelSent(note=command.note)

    counter.on_parcel = handle
    for number in range(20):
        post(SendParcel(note=str(number)))
    wait_until(lambda: InboxMessage.objects.filter(status="done").count() == 40, 20, "all are handled")
    wait_until(lambda: not OutboxMessage.objects.filter(sent_at=None).exists(), 5, "all are marked")
    assert traces() == 20


@committed
def test_the_embedded_house_tries_again_what_failed(
    embedded: Worker, counter: Counter, settings: Any
) -> None:
    settings.MESSAGING = settings.MESSAGING | {"RETRY_SECONDS": 0.05}
    attempts: list[float] = []

    def handle(command: SendParcel) -> None:
        attempts.append(time.monotonic())
        if len(attempts) < 4:
            raise OSError

    counter.on_parcel = handle
    post()
    wait_until(lambda: InboxMessage.objects.filter(status="done").exists(), 10, "it is handled")
    assert len(attempts) == 4
    assert InboxMessage.objects.get().attempts == 4


@committed
def test_the_embedded_house_goes_on_after_what_it_cannot_read(embedded: Worker, counter: Counter) -> None:
    queue = dramatiq.get_broker().queues["tests"]  # type: ignore[call-overload]
    for body in BODIES.values():
        queue.put(body if isinstance(body, bytes) else json.dumps(body).encode())
    counter.on_parcel = lambda command: ParcelSent()
    letter = post()
    wait_until(
        lambda: InboxMessage.objects.filter(message_id=letter.envelope.message_id, status="done").exists(),
        10,
        "the good one is handled",
    )
    wait_until(
        lambda: queue.empty() and not embedded.work_queue.unfinished_tasks, 10, "none comes round again"
    )
    assert InboxMessage.objects.filter(status="dead").count() > 15


@pytest.mark.django_db
def test_the_embedded_publisher_takes_messages_from_the_moment_it_is_made() -> None:
    broker = EmbeddedBroker(middleware=[])
    broker.declare_queue("tests")
    letters = [post(), post()]
    EmbeddedPublisher(broker).publish(letters)
    assert broker.queues["tests"].qsize() == 2
