"""The queues: how deep each is, and how many consume it, where the broker answers."""

import time
from dataclasses import dataclass
from threading import Lock
from typing import Any

import dramatiq
from dramatiq.broker import Broker

from pizzahouse.messaging.broker import EmbeddedBroker
from pizzahouse.messaging.envelope import queue_name
from pizzahouse.messaging.glance import Depth
from pizzahouse.messaging.handling import handlers

KEPT_SECONDS = 2.0  # many pages may ask, and ask again


@dataclass(frozen=True)
class Queue:
    """One queue, as the broker tells of it."""

    address: str
    messages: int  # that are ready: what a worker has fetched already is not among them
    consumers: int


def look() -> dict[str, Queue] | None:
    """The queues of all addresses that have handlers, by address; None where the broker does not answer.

    A broker tells only of the messages that nobody has fetched: workers fetch some ahead, so an empty queue
    does not mean that all is handled. A queue that does not exist has no messages and no consumers. It takes
    two seconds at the most. What RabbitMQ told is kept for as long, that it did not answer too; an embedded
    broker tells only of this process.
    """
    addresses = sorted({name.partition(".")[0] for name in handlers()})
    depths = _depths({queue_name(address) for address in addresses})
    if depths is None:
        return None
    return {address: Queue(address, *depths[queue_name(address)]) for address in addresses}


Depths = dict[str, Depth] | None
_seen: tuple[float, Broker, Depths] | None = None
_one_looks = Lock()  # the others wait, and then know


def _depths(names: set[str]) -> Depths:
    global _seen  # noqa: PLW0603  (a process has one broker)
    broker: Any = dramatiq.get_broker()
    if isinstance(broker, EmbeddedBroker):
        return broker.depths(names)
    with _one_looks:
        if _seen is None or _seen[1] is not broker or time.monotonic() - _seen[0] > KEPT_SECONDS:
            depths: Depths = broker.depths(names)
            _seen = time.monotonic(), broker, depths
        return _seen[2]
