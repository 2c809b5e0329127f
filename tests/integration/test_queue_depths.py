"""How deep RabbitMQ's queues are, and that nobody waits for a broker that does not tell."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import dramatiq
import pytest

from pizzahouse.messaging import glance, queues
from pizzahouse.messaging.queues import KEPT_SECONDS, Queue
from tests.integration.conftest import OpenWorker, Rabbit, broker_of_the_house
from tests.integration.wire import Wire
from tests.servers import RABBITMQ, free_port, wait_until

LONGEST = glance.SECONDS + glance.SECONDS_TO_HANG_UP + 1  # a second for a busy machine
OPEN_OK = b"\x00\x0a\x00\x29"  # AMQP's Connection.OpenOk: from then on the client believes it is connected

Ask = Callable[[str], dict[str, Queue] | None]


@pytest.fixture
def look() -> Iterator[Ask]:
    """Looks at the queues of the broker at an address; each time over a broker of its own, which has not
    seen anything yet."""
    with ExitStack() as opened:
        opened.callback(dramatiq.set_broker, dramatiq.get_broker())

        def look_at(url: str) -> dict[str, Queue] | None:
            broker = broker_of_the_house(url, relays=False)
            opened.callback(broker.close)
            dramatiq.set_broker(broker)
            return queues.look()

        yield look_at


def kitchen(seen: dict[str, Queue] | None) -> Queue:
    assert seen is not None
    return seen["kitchen"]


# --- It answers -----------------------------------------------------------------------------------


def test_messages_and_consumers_are_told_of_each_queue(
    rabbit: Rabbit, look: Ask, open_worker: OpenWorker
) -> None:
    rabbit.declare("kitchen")
    rabbit.send(b"1", b"2", b"3", address="kitchen")
    open_worker()
    wait_until(lambda: rabbit.consumers() == 1, 10, "the worker consumes")
    seen = look(RABBITMQ.url)
    assert kitchen(seen) == Queue("kitchen", messages=3, consumers=0)
    assert seen is not None
    assert seen["tests"] == Queue("tests", messages=0, consumers=1)


def test_a_queue_that_does_not_exist_is_empty_and_is_not_made(rabbit: Rabbit, look: Ask) -> None:
    assert rabbit.ready("kitchen") == -1
    seen = look(RABBITMQ.url)
    assert kitchen(seen) == Queue("kitchen", messages=0, consumers=0)
    assert rabbit.ready("kitchen") == -1


def test_what_was_seen_is_kept_for_a_moment_and_no_longer(rabbit: Rabbit, look: Ask) -> None:
    rabbit.declare("kitchen")
    assert kitchen(look(RABBITMQ.url)).messages == 0
    since = time.monotonic()
    rabbit.send(b"1", address="kitchen")
    wait_until(lambda: kitchen(queues.look()).messages == 1, KEPT_SECONDS + 5, "it looks again")
    assert time.monotonic() - since > KEPT_SECONDS / 2


def test_many_who_ask_at_once_share_one_look(rabbit: Rabbit, look: Ask, wire: Wire) -> None:
    rabbit.declare("kitchen")
    look(RABBITMQ.url)
    broker = broker_of_the_house(wire.url, relays=False)
    dramatiq.set_broker(broker)
    wire.hold()
    seen: list[dict[str, Queue] | None] = []
    threads = [threading.Thread(target=lambda: seen.append(queues.look())) for _ in range(20)]
    since = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert seen == [None] * 20
    assert time.monotonic() - since < LONGEST
    broker.close()


def test_no_connection_is_left(rabbit: Rabbit, look: Ask, wire: Wire) -> None:
    assert kitchen(look(wire.url)).messages == 0
    wait_until(lambda: wire.connections == 0, 5, "it has hung up")


# --- It does not answer ---------------------------------------------------------------------------


def test_nobody_at_the_address_is_no_answer(look: Ask) -> None:
    since = time.monotonic()
    assert look(f"amqp://guest:guest@127.0.0.1:{free_port()}/%2F") is None
    assert time.monotonic() - since < LONGEST


def test_that_it_does_not_answer_is_kept_too(look: Ask, wire: Wire) -> None:
    wire.hold()
    assert look(wire.url) is None
    since = time.monotonic()
    assert queues.look() is None
    assert time.monotonic() - since < glance.SECONDS / 2
    wire.release()
    wait_until(lambda: queues.look() is not None, KEPT_SECONDS + 10, "it answers again")


def test_a_wrong_password_is_no_answer(look: Ask) -> None:
    where = urlsplit(RABBITMQ.url)
    assert look(f"amqp://guest:wrong@{where.hostname}:{where.port or 5672}/%2F") is None


def test_a_virtual_host_that_there_is_not_is_no_answer(look: Ask) -> None:
    where = urlsplit(RABBITMQ.url)
    assert look(f"amqp://guest:guest@{where.hostname}:{where.port or 5672}/nonesuch") is None


def test_more_queues_than_a_connection_has_channels_is_no_answer_and_leaves_no_connection(
    look: Ask, wire: Wire
) -> None:
    assert look(f"{wire.url}?channel_max=2") is None
    wait_until(lambda: wire.connections == 0, 5, "it has hung up")


def test_a_name_that_nobody_resolves_is_given_up_in_time(look: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    resolved, answered = threading.Event(), threading.Event()

    def resolve(*_: object, **__: object) -> list[object]:
        resolved.wait(20)
        answered.set()
        return []

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    since = time.monotonic()
    assert look(RABBITMQ.url) is None
    assert time.monotonic() - since < LONGEST
    resolved.set()
    assert answered.wait(5), "and what it says then is of no interest"


def test_a_broker_that_swallows_what_it_is_told_is_left_in_time(look: Ask, wire: Wire) -> None:
    wire.hold()
    since = time.monotonic()
    assert look(wire.url) is None
    assert time.monotonic() - since < LONGEST
    wire.release()
    wait_until(lambda: wire.connections == 0, 5, "it has hung up")


class DyingWire(Wire):
    """A wire that lets nothing pass any more once a connection over it is open."""

    held = False

    def _pass_on(self, source, target):
        class Listening:
            def recv(_self, size):  # noqa: N805
                data = source.recv(size)
                if OPEN_OK in data and not self.held:
                    target.sendall(data)
                    self.held = True
                    self.hold()
                    self._flows.wait()
                    return source.recv(size)
                return data

            def shutdown(_self, how):  # noqa: N805
                source.shutdown(how)

        super()._pass_on(Listening(), target)


def test_a_broker_that_falls_silent_once_it_is_connected_is_left_in_time(look: Ask) -> None:
    wire = DyingWire(RABBITMQ.url)
    since = time.monotonic()
    assert look(wire.url) is None
    assert time.monotonic() - since < LONGEST
    assert wire.held
    wire.release()
    wait_until(lambda: wire.connections == 0, 5, "it has hung up")
    wire.down()
