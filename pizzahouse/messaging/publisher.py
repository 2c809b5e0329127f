"""Publishing to RabbitMQ with confirms: many messages in flight over one connection.

Waiting for each confirm costs a round trip per message (some 950 messages/s on one thread, against 8,500
without). Here a message is published as soon as it is committed, and its confirm comes when it comes.
"""

import random
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import takewhile
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pika
import structlog
from pika.exceptions import AMQPError

from pizzahouse.messaging import metrics
from pizzahouse.messaging.envelope import Letter

if TYPE_CHECKING:
    from pizzahouse.messaging.relay import Relay

log = structlog.get_logger(__name__)

LONGEST_BACKOFF = 5.0  # seconds between two attempts to reach the broker
MOST_UNCONFIRMED = 5000
HOLD_SECONDS = 8.0  # a letter not out by then is left to the next sweep: its lease (10 s) is ending


class RabbitmqPublisher:
    """Runs a connection of its own in a thread of its own, and heals it."""

    def __init__(
        self, parameters: pika.ConnectionParameters, queues: Sequence[str], arguments: dict[str, Any]
    ) -> None:
        self.parameters = parameters
        self.queues = queues
        self.arguments = arguments
        self.connected = False
        self._waiting: deque[tuple[float, Letter]] = deque()
        self._unconfirmed: dict[int, tuple[float, Letter]] = {}  # by delivery tag, in order
        self._scheduled = False
        self._away = False
        self._returned: set[str] = set()
        self._tag = 0
        self._stopping = threading.Event()
        self._connection: Any = None
        self._channel: Any = None
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self, relay: "Relay") -> None:
        self._relay = relay
        self._thread.start()

    @property
    def ready(self) -> bool:
        return self.connected and len(self._waiting) + len(self._unconfirmed) < MOST_UNCONFIRMED

    def publish(self, letters: Iterable[Letter]) -> None:
        """Publish as soon as the connection allows. Any thread; returns at once."""
        now = time.monotonic()
        self._waiting.extend((now, letter) for letter in letters)
        if self._waiting and self.connected and not self._scheduled:
            self._scheduled = True  # one wake-up publishes all that waits by then
            self._in_thread(self._drain)

    def stop(self, timeout: float) -> None:
        """Wait until all is confirmed, at the most so many seconds, then close."""
        deadline = time.monotonic() + timeout
        while self.connected and (self._waiting or self._unconfirmed) and time.monotonic() < deadline:
            time.sleep(0.01)
        self._stopping.set()
        if self._connection is not None:
            self._in_thread(self._close)
        self._thread.join(timeout)

    def _in_thread(self, callback: Any) -> None:
        with suppress(AMQPError, OSError, RuntimeError):  # just closing: the next connection publishes it
            self._connection.ioloop.add_callback_threadsafe(callback)

    # --- In the publisher's thread ----------------------------------------------------------------

    def _run(self) -> None:
        attempts = 0
        while not self._stopping.is_set():
            self._connection = pika.SelectConnection(
                self.parameters,
                on_open_callback=self._on_open,
                on_open_error_callback=self._on_lost,
                on_close_callback=self._on_lost,
            )
            was_connected = self._serve()
            if self._stopping.is_set():
                break
            attempts = 1 if was_connected else attempts + 1
            pause = min(0.25 * 2**attempts, LONGEST_BACKOFF) * random.uniform(0.5, 1.0)  # noqa: S311
            self._stopping.wait(pause)

    def _serve(self) -> bool:
        """Run the connection until it ends; tells whether it had opened."""
        self._opened = False
        try:
            self._connection.ioloop.start()
        except Exception as error:  # noqa: BLE001  (a process whose publisher has ended would send nothing)
            self._on_lost(self._connection, error)
        finally:
            self._connection.ioloop.close()
        return self._opened

    def _close(self) -> None:
        with suppress(AMQPError):  # closed or closing
            self._connection.close()

    def _on_open(self, connection: Any) -> None:
        if self._stopping.is_set():
            self._close()
            return
        connection.channel(on_open_callback=self._on_channel)

    def _on_channel(self, channel: Any) -> None:
        self._channel = channel
        self._tag = 0
        channel.add_on_close_callback(self._on_channel_closed)
        channel.add_on_return_callback(self._on_returned)
        channel.confirm_delivery(self._on_confirm)
        for queue in self.queues[:-1]:
            self._declare(queue)
        self._declare(self.queues[-1], self._on_declared)

    def _declare(self, queue: str, callback: Any = None) -> None:
        # Without a callback pika does not wait; RabbitMQ answers in order, so the last one stands for all.
        self._channel.queue_declare(queue, durable=True, arguments=self.arguments, callback=callback)

    def _on_declared(self, _frame: Any) -> None:
        self.connected = self._opened = True
        (log.warning if self._away else log.debug)("connected to the broker")
        self._away = False
        self._drain()

    def _drain(self) -> None:
        self._scheduled = False
        before = self._tag
        while self._waiting and self.connected:
            since, letter = self._waiting[0]
            if time.monotonic() - since > HOLD_SECONDS:
                self._waiting.popleft()
                continue
            self._tag += 1
            self._unconfirmed[self._tag] = since, letter
            self._waiting.popleft()  # only now: `ready` and `stop` count in other threads, and miss none
            self._channel.basic_publish("", letter.queue, letter.seal(), _properties(letter), mandatory=True)
        metrics.published.inc(self._tag - before)

    def _on_returned(self, _channel: Any, method: Any, properties: Any, _body: bytes) -> None:
        """The queue is gone. Declare it again; the message is sent when its lease has run out."""
        log.error("returned by the broker: no such queue", queue=method.routing_key)
        self._returned.add(properties.message_id)
        metrics.returned.inc()
        self._declare(method.routing_key)

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        tags = [method.delivery_tag]
        if method.multiple:
            tags = list(takewhile(lambda tag: tag <= method.delivery_tag, self._unconfirmed))
        letters = [self._unconfirmed.pop(tag)[1] for tag in tags]
        if isinstance(method, pika.spec.Basic.Nack):
            log.warning("refused by the broker", messages=len(letters))
            metrics.refused.inc(len(letters))
            return  # sent again when the lease has run out
        self._relay.confirm([kept for letter in letters if (kept := self._kept(letter))])

    def _kept(self, letter: Letter) -> UUID | None:
        message_id = letter.envelope.message_id
        if self._returned and str(message_id) in self._returned:
            self._returned.discard(str(message_id))
            return None
        return message_id

    def _on_channel_closed(self, _channel: Any, reason: Exception) -> None:
        self.connected = False
        if self._connection.is_open:
            log.warning("the broker closed the channel", reason=str(reason))
            self._connection.close()

    def _on_lost(self, connection: Any, error: BaseException) -> None:
        """What was not confirmed is published again over the next connection, if that comes in time."""
        if not self._stopping.is_set():  # one line for each outage, not for each attempt
            tell = log.debug if self._away else log.warning
            tell("the broker is out of reach; it is sought until it is back", error=_cause(error))
        self._away = True
        self.connected = False
        self._waiting.extendleft(reversed(self._unconfirmed.values()))
        self._unconfirmed.clear()
        self._returned.clear()
        connection.ioloop.stop()


def _properties(letter: Letter) -> pika.BasicProperties:
    return pika.BasicProperties(delivery_mode=2, message_id=str(letter.envelope.message_id))


def _cause(error: BaseException) -> str:
    """What pika wraps: the last error of all it tried."""
    nested = getattr(error, "exceptions", None) or [e for e in error.args if isinstance(e, BaseException)]
    return _cause(nested[-1]) if nested else str(error) or repr(error)
