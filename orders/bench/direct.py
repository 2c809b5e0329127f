"""The same flow direct: plain Dramatiq with confirms, and nothing that outlives a crash.

The same messages go through the same queues in the same order: one after another, then one per pizza side
by side, then on when all are done. Only counting the pizzas needs a memory, so each saga belongs to one
worker process, which counts them in a dictionary and loses them when it ends. So `orders` is one queue per
process; all processes share the others.

Workers import this module without Django: `BENCH_PROCESS=0 dramatiq orders.bench.direct:broker --queues ...`
(without `--queues` Dramatiq would also consume whatever queue it sends to).
"""

import os
import struct
import threading
import time
from collections import Counter
from functools import partial
from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.common import dq_name, xq_name

# Each message's handler sends the next one.
STORY = {
    "StartTableService": "orders",
    "TableServiceStarted": "orders",
    "GetMenu": "menu",
    "MenuGot": "orders",
    "ShowMenu": "waiter",
    "MenuShown": "orders",
    "PlaceOrder": "waiter",
    "OrderPlaced": "orders",
    "DoPizza": "kitchen",
    "PizzaDone": "orders",
    "ServePizzas": "waiter",
    "PizzasServed": "orders",
    "ShowBill": "waiter",
    "BillPaid": "orders",
    "ThankClient": "waiter",
    "ClientThanked": "orders",
}
NEXT = dict(zip(STORY, [*list(STORY)[1:], ""], strict=True))
PREFIX = os.environ.get("PIZZAHOUSE_QUEUE_PREFIX", "")
OWN_ORDERS = "orders-" + os.environ.get("BENCH_PROCESS", "0")
RECORD = struct.Struct("d")  # a saga's duration in seconds

broker = RabbitmqBroker(url=os.environ.get("RABBITMQ_URL"), confirm_delivery=True)
_baking: Counter[str] = Counter()
_lock = threading.Lock()


def queue(module: str, prefix: str = PREFIX) -> str:
    """The broker's queue of a module; "orders-0" is the one of the first worker process."""
    return f"{prefix}direct-{module}"


def queues(process: int, prefix: str = PREFIX) -> list[str]:
    """What this worker process listens to."""
    return [queue(module, prefix) for module in (f"orders-{process}", "menu", "waiter", "kitchen")]


def all_queues(processes: int, prefix: str) -> set[str]:
    """All that so many worker processes declare, Dramatiq's delay and dead-letter queues included."""
    names = {name for process in range(processes) for name in queues(process, prefix)}
    return names | set(map(dq_name, names)) | set(map(xq_name, names))


def send(name: str, saga: dict[str, Any]) -> None:
    """Send a message of this saga, and wait for its confirm."""
    message = broker.get_actor(name).message(saga)
    if STORY[name] == "orders":
        message = message.copy(queue_name=queue(f"orders-{saga['process']}"))
    broker.enqueue(message)


def handle(name: str, saga: dict[str, Any]) -> None:
    """A message of the story: send the next."""
    if name == "OrderPlaced":
        with _lock:
            _baking[saga["id"]] = saga["pizzas"]
    if name == "PizzaDone" and _still_baking(saga["id"]):
        return
    if not NEXT[name]:
        _finish(saga)
        return
    for _ in range(saga["pizzas"] if name == "OrderPlaced" else 1):
        send(NEXT[name], saga)


def _still_baking(saga: str) -> bool:
    with _lock:
        _baking[saga] -= 1
        if _baking[saga]:
            return True
        del _baking[saga]
        return False


def _finish(saga: dict[str, Any]) -> None:
    """Appending to a file is how a worker tells the driver; so few bytes are written as a whole."""
    file = os.open(saga["finished"], os.O_WRONLY | os.O_APPEND)
    try:
        os.write(file, RECORD.pack(time.time() - saga["began"]))
    finally:
        os.close(file)


for _name, _module in STORY.items():
    _queue = queue(OWN_ORDERS if _module == "orders" else _module)
    _actor = dramatiq.actor(actor_name=_name, queue_name=_queue, broker=broker)
    _actor(partial(handle, _name))
