"""A glance at RabbitMQ's queues, over a connection of its own that lives for a moment.

Pika's blocking connection waits for each answer for as long as it takes. This one ends after `SECONDS` in
all, whatever it waits for: an address, a connection, or a broker that is connected and says nothing.
"""

from collections.abc import Iterable
from copy import copy
from functools import partial
from typing import Any, cast

import pika
import structlog
from pika.exceptions import ChannelClosedByBroker

log = structlog.get_logger(__name__)

SECONDS = 1.5  # in all: somebody waits for a page
SECONDS_TO_HANG_UP = 0.5
NOT_FOUND = 404

Depth = tuple[int, int]  # messages that are ready, consumers


def depths(parameters: pika.ConnectionParameters, queues: Iterable[str]) -> dict[str, Depth] | None:
    """The depth of each queue, by its name; None where the broker does not tell it in time. A queue that
    does not exist has no messages and no consumers."""
    return _Glance(parameters, queues).take()


class _Glance:
    """Asks for all queues at once, each on a channel of its own: the broker closes the channel of one that
    does not exist."""

    def __init__(self, parameters: pika.ConnectionParameters, queues: Iterable[str]) -> None:
        self.queues = sorted(queues)
        self.found: dict[str, Depth] = {}
        self.connection: Any = pika.SelectConnection(
            _hasty(parameters),
            on_open_callback=self._on_open,
            on_open_error_callback=self._on_end,
            on_close_callback=self._on_end,
        )

    def take(self) -> dict[str, Depth] | None:
        """What the broker tells; None where it does not tell all."""
        loop = self.connection.ioloop
        loop.call_later(SECONDS, self._give_up)
        loop.call_later(SECONDS + SECONDS_TO_HANG_UP, loop.stop)
        try:
            loop.start()
        except Exception as error:  # noqa: BLE001  (whatever pika stumbles over: the page is shown without)
            log.warning("the queues could not be looked at", error=type(error).__name__)
        finally:
            loop.close()
        return self.found if len(self.found) == len(self.queues) else None

    def _on_open(self, connection: Any) -> None:
        for queue in self.queues:
            connection.channel(on_open_callback=partial(self._ask, queue))

    def _ask(self, queue: str, channel: Any) -> None:
        channel.add_on_close_callback(partial(self._on_closed, queue))
        channel.queue_declare(queue, passive=True, callback=partial(self._on_told, queue))

    def _on_told(self, queue: str, frame: Any) -> None:
        self._note(queue, (frame.method.message_count, frame.method.consumer_count))

    def _on_closed(self, queue: str, _channel: Any, reason: Exception) -> None:
        if isinstance(reason, ChannelClosedByBroker):
            if reason.reply_code == NOT_FOUND:
                self._note(queue, (0, 0))
            else:
                self._give_up()

    def _note(self, queue: str, depth: Depth) -> None:
        self.found[queue] = depth
        if len(self.found) == len(self.queues):
            self.connection.close()

    def _give_up(self) -> None:
        """Close the connection without a word: nobody may be there to answer."""
        if not self.connection.is_closed:
            self.connection._terminate_stream(TimeoutError())

    def _on_end(self, connection: Any, _error: BaseException) -> None:
        connection.ioloop.stop()


def _hasty(parameters: pika.ConnectionParameters) -> pika.ConnectionParameters:
    hasty = cast(Any, copy(parameters))
    hasty.socket_timeout = hasty.stack_timeout = SECONDS
    hasty.connection_attempts = 1
    return cast(pika.ConnectionParameters, hasty)
