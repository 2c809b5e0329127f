"""Consumers: what comes from a queue, and when it is acknowledged.

Imported while Django sets up its apps, so nothing here imports models at the top.
"""

from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from queue import Empty
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pika
import structlog
from dramatiq.broker import Broker, Consumer, MessageProxy
from dramatiq.errors import ConnectionClosed
from dramatiq.message import Message
from pika.exceptions import AMQPError

if TYPE_CHECKING:
    from pizzahouse.messaging.broker import EmbeddedBroker, SafeRabbitmqBroker

log = structlog.get_logger(__name__)

SETTLE_SECONDS = 0.02  # acknowledgements wait so long for company
UNREADABLE = "messaging.unreadable"


class Delivery(MessageProxy):
    """A message as one consumer received it: only that consumer can acknowledge it."""

    def __init__(self, message: Message[Any], consumer: Consumer, tag: int = 0) -> None:
        super().__init__(message)
        self.consumer = consumer
        self.tag = tag
        self.recorded = True

    def stuff_exception(self, exception: BaseException) -> None:
        """The actor raised, so no outcome is on record: the message must be delivered again."""
        super().stuff_exception(exception)
        self.recorded = False


class _Wire(msgspec.Struct):
    """What is read of a Dramatiq message. Its options are not: a delay is a row in the outbox, and one
    that came from elsewhere would be held unacknowledged."""

    actor_name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    message_id: str = ""
    message_timestamp: int = 0


_wire = msgspec.json.Decoder(_Wire)


def _read(broker: Broker, queue_name: str, body: bytes, *, redelivered: bool = False) -> Message[Any]:
    """The Dramatiq message in a body. What cannot be read, or has no actor here, goes to the actor that
    keeps such things in the inbox: Dramatiq itself would drop it, or let it expire."""
    try:
        wire = _wire.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return _unreadable(queue_name, body, str(error))
    if wire.actor_name not in broker.actors or wire.actor_name == UNREADABLE or "self" in wire.kwargs:
        return _unreadable(queue_name, body, f"nobody here handles {wire.actor_name!r}")
    if redelivered:
        wire.kwargs["redelivered"] = True
    else:
        wire.kwargs.pop("redelivered", None)
    # Dramatiq looks the consumer up by the queue's name: a foreign one would end the worker thread.
    ids = (wire.message_id, wire.message_timestamp)
    return Message(queue_name, wire.actor_name, wire.args, wire.kwargs, {}, *ids)


def _unreadable(queue_name: str, body: bytes, reason: str) -> Message[Any]:
    arguments = {"body": body.decode("utf-8", "backslashreplace"), "reason": reason}
    return Message(queue_name, UNREADABLE, (), arguments, {})


def keep_unreadable(body: str, reason: str) -> None:
    """The actor for what cannot be handled: it stays in the inbox, dead, for a human to look at."""
    from pizzahouse.messaging import handling

    handling.record_unreadable(UNREADABLE, {"body": body}, ValueError(reason))


class SafeConsumer(Consumer):
    """Consumes one queue over one connection.

    Delivery tags restart with every connection, and Dramatiq's own consumer acknowledges by number: after
    a reconnect a late acknowledgement hits another, unprocessed message, which is then lost. Here a
    delivery knows its consumer, and a late one is ignored: the broker has already queued it again.
    """

    def __init__(self, broker: "SafeRabbitmqBroker", queue_name: str, prefetch: int, timeout: int):
        self.broker = broker
        self.queue_name = queue_name
        self.timeout = timeout / 1000  # seconds
        self.enough = max(prefetch // 2, 1)
        self.arrived: deque[Delivery] = deque()
        self.outstanding: dict[int, None] = {}  # tags in the order of their delivery
        self.settled: deque[tuple[int, bool]] = deque()  # tags, and whether to acknowledge
        self.scheduled = False
        self.cancelled = False
        try:
            self.connection = pika.BlockingConnection(broker.connects_with)
            self.channel = self.connection.channel()
            self.channel.queue_declare(queue_name, durable=True, arguments=broker.queue_arguments)
            self.channel.basic_qos(prefetch_count=prefetch)
            self.channel.add_on_cancel_callback(self._on_cancel)
            self.channel.basic_consume(queue_name, self._on_message)
        except AMQPError as error:
            if hasattr(self, "connection"):
                self._hang_up()
            raise ConnectionClosed(error) from None

    def __next__(self) -> Delivery | None:
        if not self.arrived:
            try:
                self._settle()
                idle = min(self.timeout, SETTLE_SECONDS) if self.outstanding else self.timeout
                self.connection.process_data_events(idle)
            except (AMQPError, AssertionError) as error:
                raise ConnectionClosed(error) from None
            if self.cancelled or self.channel.is_closed:
                raise ConnectionClosed(f"queue {self.queue_name} was deleted")
        return self.arrived.popleft() if self.arrived else None

    def _on_message(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        message = _read(self.broker, self.queue_name, body, redelivered=method.redelivered)
        self.outstanding[method.delivery_tag] = None
        self.arrived.append(Delivery(message, self, method.delivery_tag))

    def _on_cancel(self, method_frame: Any) -> None:
        self.cancelled = True

    def ack(self, message: MessageProxy) -> None:
        assert isinstance(message, Delivery)
        self._settle_later(message, acknowledge=message.recorded)

    def nack(self, message: MessageProxy) -> None:
        assert isinstance(message, Delivery)
        self._settle_later(message, acknowledge=False)

    def _settle_later(self, message: Delivery, *, acknowledge: bool) -> None:
        """Any thread; pika's channels belong to the consumer's. It settles when it next wakes up, and is
        woken only when half of what was prefetched is ready: a wake-up costs more than a message."""
        if message.consumer is not self:
            log.info("late acknowledgement ignored", queue=self.queue_name)
            return
        self.settled.append((message.tag, acknowledge))
        if len(self.settled) >= self.enough and not self.scheduled:
            self.scheduled = True
            with suppress(AMQPError):  # a lost connection: it is delivered again, the inbox knows it
                self.connection.add_callback_threadsafe(self._settle)

    def _settle(self) -> None:
        self.scheduled = False
        acknowledged: dict[int, None] = {}
        while self.settled:
            tag, acknowledge = self.settled.popleft()
            if acknowledge:
                acknowledged[tag] = None
            else:
                self.outstanding.pop(tag, None)
                self.channel.basic_nack(tag, requeue=True)
        # Pika's blocking channel would poll the socket after each of them, which costs more than to write
        # it; the next `process_data_events` of this thread sends them all.
        channel = cast(Any, self.channel)._impl
        for tag, multiple in self._runs(acknowledged):
            channel.basic_ack(tag, multiple=multiple)

    def _runs(self, acknowledged: dict[int, None]) -> Iterable[tuple[int, bool]]:
        """One acknowledgement for all from the oldest on without a gap, one each for the rest."""
        last = None
        for tag in list(self.outstanding):
            if tag not in acknowledged:
                break
            last = tag
            del self.outstanding[tag], acknowledged[tag]
        if last is not None:
            yield last, True
        for tag in acknowledged:
            self.outstanding.pop(tag, None)
            yield tag, False

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Closing the connection gives back what was not acknowledged."""

    def close(self) -> None:
        try:
            self._settle()
        except (AMQPError, AssertionError):
            log.info("the last messages are delivered again", queue=self.queue_name)
        finally:
            self._hang_up()

    def _hang_up(self) -> None:
        with suppress(AMQPError, AssertionError):
            self.connection.close()


class EmbeddedConsumer(Consumer):
    """Consumes one in-process queue."""

    def __init__(self, broker: "EmbeddedBroker", queue_name: str, timeout: int) -> None:
        self.broker = broker
        self.queue_name = queue_name
        self.queue = broker.queues[queue_name]
        self.timeout = timeout / 1000  # seconds
        broker.open_consumers.add(self)

    def __next__(self) -> Delivery | None:
        try:
            body = self.queue.get(timeout=self.timeout)
        except Empty:
            return None
        return Delivery(_read(self.broker, self.queue_name, body), self)

    def ack(self, message: MessageProxy) -> None:
        assert isinstance(message, Delivery)
        if not message.recorded:
            self.queue.put(message.encode())

    nack = ack

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """What was not handled is in the outbox; the next start sends it again."""

    def close(self) -> None:
        self.broker.open_consumers.discard(self)
