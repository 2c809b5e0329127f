"""`manage.py start_heavy_worker --seconds 25`: give the heavy worker something to do."""

import time
from typing import Any
from uuid import UUID

from django.core.management.base import CommandParser
from django.db import transaction

from orders import embedded
from orders.cli import Exit, Failed, HouseCommand, result_console
from orders.heavy_work import HEAVY_WORKER, DoHeavyWork
from pizzahouse.messaging import outbox
from pizzahouse.messaging.errors import InvalidMessage
from pizzahouse.messaging.messages import encode
from pizzahouse.messaging.models import InboxMessage

GRACE_SECONDS = 30


class Command(HouseCommand):
    help = (
        "Have a worker of the queue heavy_worker be busy for so long, and log its progress each second."
        " Stop it meanwhile (SIGTERM): it finishes. Kill it (SIGKILL): another one begins anew."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--seconds", type=int, default=25, metavar="N", help="from 1 to 3600 (25)")

    def handle(self, **options: Any) -> None:
        command = DoHeavyWork(options["seconds"])
        try:
            encode(command)
        except InvalidMessage as error:
            raise Failed("--seconds is a number from 1 to 3600.", Exit.USAGE) from error
        if not embedded.is_embedded():
            message_id = _put(command)
            result_console().print(f"Put: {message_id}")
            self.stderr.write("Watch a worker's log: manage.py rundramatiq --queues heavy_worker --threads 1")
            return
        embedded.migrate()
        with embedded.workers():
            self._wait(_put(command), command.seconds + GRACE_SECONDS)

    def _wait(self, message_id: UUID, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not InboxMessage.objects.filter(message_id=message_id, status="done").exists():
            if time.monotonic() > deadline:
                raise Failed("It is not done; see the log.", Exit.STILL_RUNNING)
            time.sleep(0.2)
        result_console().print(f"Done: {message_id}")


def _put(command: DoHeavyWork) -> UUID:
    with transaction.atomic():
        return outbox.put(command, to=HEAVY_WORKER)
