"""The brokers: RabbitMQ with a consumer that cannot lose a message, and an embedded one for one process.

Imported while Django sets up its apps, so nothing here imports models at the top.
"""

from collections.abc import Iterable
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, urlsplit

import dramatiq
from dramatiq.broker import Broker, Consumer
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.message import Message
from dramatiq.middleware import Middleware

from pizzahouse.messaging import metrics
from pizzahouse.messaging.consumer import UNREADABLE, EmbeddedConsumer, SafeConsumer, keep_unreadable
from pizzahouse.messaging.envelope import Letter

if TYPE_CHECKING:
    from pizzahouse.messaging.glance import Depth
    from pizzahouse.messaging.relay import Publisher, Relay

HEARTBEAT_SECONDS = 30
BLOCKED_SECONDS = 60  # a broker that takes nothing for so long is left, and sought again


def _add_unreadable_actor(broker: Broker, queue_name: str) -> None:
    if UNREADABLE not in broker.actors:
        actor = dramatiq.actor(actor_name=UNREADABLE, queue_name=queue_name, broker=broker)
        actor(keep_unreadable)


class SafeRabbitmqBroker(RabbitmqBroker):
    """RabbitMQ with our consumer, confirms, a heartbeat, and durable queues without delay and dead-letter
    queues beside them: delays and failures are rows in the database.

    url: amqp://user:password@host:port/vhost. queue_type: "classic" or "quorum".
    """

    def __init__(self, *, url: str, queue_type: str = "classic", **options: Any) -> None:
        super().__init__(url=url, confirm_delivery=True, **options)
        self.queue_type = queue_type
        asked = parse_qs(urlsplit(url).query)
        self.connects_with = cast(Any, self.parameters)  # one URL, one set of parameters
        if "heartbeat" not in asked:
            self.connects_with.heartbeat = HEARTBEAT_SECONDS
        if "blocked_connection_timeout" not in asked:
            self.connects_with.blocked_connection_timeout = BLOCKED_SECONDS

    @property
    def queue_arguments(self) -> dict[str, str]:
        """What every queue is declared with."""
        return {"x-queue-type": "quorum"} if self.queue_type == "quorum" else {}

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        return SafeConsumer(self, queue_name, prefetch, timeout)

    def declare_queue(self, queue_name: str, *, ensure: bool = False) -> None:
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.queues_pending.add(queue_name)
            self.emit_after("declare_queue", queue_name)
            _add_unreadable_actor(self, queue_name)
        if ensure:
            self._ensure_queue(queue_name)  # type: ignore[no-untyped-call]

    def _declare_queue(self, queue_name: str) -> Any:
        return self.channel.queue_declare(queue_name, durable=True, arguments=self.queue_arguments)

    def _declare_dq_queue(self, queue_name: str) -> None:
        pass

    def _declare_xq_queue(self, queue_name: str) -> None:
        pass

    def publisher(self) -> "Publisher":
        """A publisher for this process's relay."""
        from pizzahouse.messaging.publisher import RabbitmqPublisher

        return RabbitmqPublisher(self.connects_with, sorted(self.queues), self.queue_arguments)

    def depths(self, queues: Iterable[str]) -> "dict[str, Depth] | None":
        """How many messages are ready in each of these queues, and how many consume it; None where the
        broker does not answer within two seconds."""
        from pizzahouse.messaging import glance

        return glance.depths(self.connects_with, queues)


class EmbeddedBroker(Broker):
    """A broker inside one process, for the embedded default: the same outbox, inbox, relay and actors.
    It keeps nothing; `outstanding.recover` brings back on the next start what it had."""

    queues: dict[str, SimpleQueue[bytes]]

    def __init__(self, middleware: list[Middleware] | None = None) -> None:
        super().__init__(middleware)
        self.open_consumers: set[EmbeddedConsumer] = set()

    def declare_queue(self, queue_name: str) -> None:
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = SimpleQueue()
            self.emit_after("declare_queue", queue_name)
            _add_unreadable_actor(self, queue_name)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 1000) -> Consumer:
        return EmbeddedConsumer(self, queue_name, timeout)

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        self.queues[message.queue_name].put(message.encode())
        return message

    def publisher(self) -> "Publisher":
        """A publisher for this process's relay."""
        return EmbeddedPublisher(self)

    def depths(self, queues: Iterable[str]) -> "dict[str, Depth]":
        """How many messages wait in each of these queues, and how many consumers of it are open."""
        consumed = [consumer.queue_name for consumer in self.open_consumers.copy()]
        return {
            name: (self.queues[name].qsize() if name in self.queues else 0, consumed.count(name))
            for name in queues
        }


class EmbeddedPublisher:
    """Publishes into the embedded broker's queues, which confirm at once."""

    ready = True

    def __init__(self, broker: EmbeddedBroker) -> None:
        self.broker = broker
        self.relay: Relay | None = None

    def start(self, relay: "Relay") -> None:
        self.relay = relay

    def publish(self, letters: Iterable[Letter]) -> None:
        for letter in letters:
            self.broker.queues[letter.queue].put(letter.seal())
            metrics.published.inc()
            if self.relay is not None:
                self.relay.confirm([letter.envelope.message_id])

    def stop(self, timeout: float) -> None:
        """Nothing is under way here."""


class RelayMiddleware(Middleware):
    """Runs the relay as a thread of every worker process, and ends it after the last handler."""

    def before_worker_boot(self, broker: Any, worker: Any) -> None:
        from pizzahouse.messaging import handling, relay

        handling.closing.clear()
        relay.start(broker.publisher())
        metrics.workers.set(1)
        metrics.threads.set(worker.worker_threads)

    def before_worker_shutdown(self, broker: Any, worker: Any) -> None:
        from pizzahouse.messaging import handling

        handling.closing.set()

    def after_worker_shutdown(self, broker: Any, worker: Any) -> None:
        from pizzahouse.messaging import relay, tracing

        relay.stop()
        metrics.workers.set(0)
        metrics.threads.set(0)
        tracing.flush()
