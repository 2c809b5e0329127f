"""The relay alone, for those who want it apart from the workers."""

import signal
import threading
from typing import Any

import dramatiq
from django.core.management.base import BaseCommand, CommandError

from pizzahouse.messaging import relay
from pizzahouse.messaging.broker import EmbeddedBroker


class Command(BaseCommand):
    help = "Send what is due from the outbox to the broker, until SIGTERM or Ctrl-C."

    def handle(self, **options: Any) -> None:
        broker = dramatiq.get_broker()
        if isinstance(broker, EmbeddedBroker):
            raise CommandError(
                "There is no broker to send to: RABBITMQ_URL is not set. Set it, for example:\n"
                "  export RABBITMQ_URL=amqp://guest:guest@127.0.0.1:5672/%2F",
                returncode=2,
            )
        done = threading.Event()
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, lambda *_: done.set())
        relay.start(broker.publisher())  # type: ignore[attr-defined]
        self.stderr.write("The relay runs; Ctrl-C ends it.")
        done.wait()
        relay.stop()
