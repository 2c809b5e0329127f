"""Workers: django-dramatiq's command, refusing what cannot work."""

from difflib import get_close_matches
from typing import Any

import dramatiq
from django.conf import settings
from django.core.management.base import CommandError
from django_dramatiq.management.commands.rundramatiq import Command as RunDramatiq

from pizzahouse.messaging import exposition
from pizzahouse.messaging.broker import EmbeddedBroker
from pizzahouse.messaging.envelope import queue_name


class Command(RunDramatiq):
    help = "Run workers for all queues, or for some: rundramatiq --queues kitchen"

    def handle(self, **options: Any) -> None:
        if isinstance(dramatiq.get_broker(), EmbeddedBroker):
            raise CommandError(
                "There is no broker for workers to share: RABBITMQ_URL is not set, so everything runs"
                " inside `manage.py serve_table`. To run workers, set both, for example:\n"
                "  export DATABASE_URL=postgres://user:password@127.0.0.1:5432/pizzahouse\n"
                "  export RABBITMQ_URL=amqp://guest:guest@127.0.0.1:5672/%2F",
                returncode=2,
            )
        if options["queues"]:
            options["queues"] = [self._queue(name) for name in options["queues"]]
        if options["path"] == ".":
            options["path"] = [str(settings.BASE_DIR)]  # works from any folder
        if settings.MESSAGING["METRICS_PORT"]:
            options["forks"] = [*options["forks"], exposition.prepare()]
        super().handle(**options)

    def _queue(self, name: str) -> str:
        """The broker's name of a queue; a mistyped one would be declared, and never get anything."""
        known: set[str] = dramatiq.get_broker().get_declared_queues()
        if queue_name(name) in known:
            return queue_name(name)
        prefix = queue_name("")
        names = sorted(each.removeprefix(prefix) for each in known)
        near = get_close_matches(name, names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise CommandError(f"There is no queue {name!r}; there are {', '.join(names)}.{hint}", returncode=2)
