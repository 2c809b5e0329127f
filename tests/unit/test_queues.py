"""How deep the queues are, where the broker is in this process."""

from collections.abc import Iterator

import dramatiq
import pytest
from dramatiq.worker import Worker

from pizzahouse.messaging import queues
from pizzahouse.messaging.broker import EmbeddedBroker
from pizzahouse.messaging.queues import Queue
from tests.servers import wait_until


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """An embedded broker of one's own, with two queues."""
    mine, before = EmbeddedBroker(middleware=[]), dramatiq.get_broker()
    mine.declare_queue("kitchen")
    mine.declare_queue("waiter")
    dramatiq.set_broker(mine)
    yield mine
    dramatiq.set_broker(before)


def look() -> dict[str, Queue]:
    seen = queues.look()
    assert seen is not None
    return seen


def test_every_address_that_has_handlers_has_a_queue(broker: EmbeddedBroker) -> None:
    assert {"kitchen", "menu", "orders", "waiter"} <= set(look())
    assert all(queue.address == address for address, queue in look().items())


def test_messages_are_counted_until_somebody_takes_them(broker: EmbeddedBroker) -> None:
    for _ in range(3):
        broker.queues["kitchen"].put(b"{}")
    assert look()["kitchen"] == Queue("kitchen", messages=3, consumers=0)
    next(broker.consume("kitchen", timeout=100))
    assert look()["kitchen"] == Queue("kitchen", messages=2, consumers=1)
    assert look()["waiter"] == Queue("waiter", messages=0, consumers=0)


def test_a_queue_that_does_not_exist_is_empty_and_not_consumed(broker: EmbeddedBroker) -> None:
    assert look()["menu"] == Queue("menu", messages=0, consumers=0)


def test_a_consumer_counts_until_it_is_closed(broker: EmbeddedBroker) -> None:
    first, second = broker.consume("kitchen"), broker.consume("kitchen")
    assert look()["kitchen"].consumers == 2
    first.close()
    first.close()
    assert look()["kitchen"].consumers == 1
    second.close()
    assert look()["kitchen"].consumers == 0


def test_a_worker_consumes_its_queues_while_it_runs(broker: EmbeddedBroker) -> None:
    worker = Worker(broker, queues={"kitchen"}, worker_threads=2, worker_timeout=50)
    worker.start()
    try:
        wait_until(lambda: look()["kitchen"].consumers == 1, 10, "it consumes")
        assert look()["waiter"].consumers == 0
    finally:
        worker.stop(timeout=10_000)
    assert look()["kitchen"].consumers == 0
