"""What the integration tests share: queues of their own, brokers, and a wire that can be cut."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from uuid import uuid4

import dramatiq
import pika
import pytest
from django_dramatiq.middleware import DbConnectionsMiddleware
from dramatiq.worker import Worker
from pytest_django import Settings

from pizzahouse.messaging import relay
from pizzahouse.messaging.broker import RelayMiddleware, SafeRabbitmqBroker
from pizzahouse.messaging.envelope import queue_name
from pizzahouse.messaging.handling import deliver, handlers
from tests.integration.wire import Wire
from tests.servers import RABBITMQ, connect_to_broker
from tests.unit.conftest import counter

__all__ = ["counter"]


class Rabbit:
    """The broker as its operator sees it: over connections of one's own."""

    def __init__(self, url: str, prefix: str) -> None:
        self.url, self.prefix = url, prefix

    @contextmanager
    def channel(self) -> Iterator[Any]:
        connection = connect_to_broker(self.url)
        try:
            yield connection.channel()
        finally:
            connection.close()

    def ready(self, address: str = "tests") -> int:
        """How many messages wait in a queue, not delivered to anybody; -1 where it does not exist."""
        with self.channel() as channel:
            try:
                return int(channel.queue_declare(queue_name(address), passive=True).method.message_count)
            except pika.exceptions.ChannelClosedByBroker:
                return -1

    def consumers(self, address: str = "tests") -> int:
        """How many consume a queue; 0 where it does not exist."""
        with self.channel() as channel:
            try:
                return int(channel.queue_declare(queue_name(address), passive=True).method.consumer_count)
            except pika.exceptions.ChannelClosedByBroker:
                return 0

    def send(self, *bodies: bytes, address: str = "tests") -> None:
        """Publish anything to a queue."""
        with self.channel() as channel:
            channel.confirm_delivery()
            for body in bodies:
                channel.basic_publish("", queue_name(address), body, mandatory=True)

    def take_all(self, address: str = "tests") -> list[bytes]:
        """What waits in a queue; it is empty afterwards."""
        with self.channel() as channel:
            bodies = []
            while True:
                method, _, body = channel.basic_get(queue_name(address), auto_ack=True)
                if method is None:
                    return bodies
                bodies.append(body)

    def declare(self, address: str = "tests") -> None:
        with self.channel() as channel:
            channel.queue_declare(queue_name(address), durable=True)

    def delete(self, address: str = "tests") -> None:
        with self.channel() as channel:
            channel.queue_delete(queue_name(address))


@pytest.fixture
def rabbit(settings: Settings) -> Iterator[Rabbit]:
    """The broker, and queues of one's own in it, which are gone afterwards."""
    prefix = f"t-{uuid4().hex[:12]}-"
    settings.MESSAGING = settings.MESSAGING | {"QUEUE_PREFIX": prefix}
    yield Rabbit(RABBITMQ.url, prefix)
    with Rabbit(RABBITMQ.url, prefix).channel() as channel:
        for address in {name.partition(".")[0] for name in handlers()}:
            channel.queue_delete(queue_name(address))


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A wire to the broker."""
    wire = Wire(RABBITMQ.url)
    yield wire
    wire.release()
    wire.down()


def broker_of_the_house(
    url: str, kind: type[SafeRabbitmqBroker] = SafeRabbitmqBroker, *, relays: bool = True
) -> SafeRabbitmqBroker:
    """A broker with all the actors of the house."""
    middleware = [DbConnectionsMiddleware(), *([RelayMiddleware()] if relays else [])]
    broker = kind(url=url, middleware=middleware)
    for handler in handlers().values():
        address = handler.name.rpartition(".")[0]
        actor = dramatiq.actor(queue_name=queue_name(address), actor_name=handler.name, broker=broker)
        actor(partial(deliver, handler))
    return broker


OpenWorker = Callable[..., Worker]


@pytest.fixture
def open_worker(rabbit: Rabbit) -> Iterator[OpenWorker]:
    """Starts a worker in this process: `open_worker(url, threads=2, relays=False)`. Without its relay it
    leaves the outbox alone."""
    with ExitStack() as opened:

        def open_one(
            url: str = RABBITMQ.url,
            kind: type[SafeRabbitmqBroker] = SafeRabbitmqBroker,
            *,
            threads: int = 2,
            relays: bool = False,
            address: str = "tests",
        ) -> Worker:
            broker = broker_of_the_house(url, kind, relays=relays)
            worker = Worker(broker, queues={queue_name(address)}, worker_threads=threads, worker_timeout=100)
            opened.callback(broker.close)
            opened.callback(worker.stop, timeout=10_000)
            worker.start()
            return worker

        yield open_one
    assert relay.local() is None
