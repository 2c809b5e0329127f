"""`manage.py retry_messages`: send again what is dead or failing, carefully, and tell what came of it."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.core.management.base import CommandParser

from orders import embedded
from orders.cli import Exit, Failed, HouseCommand, add_json, print_json, result_console
from orders.saga import Saga, find
from pizzahouse.messaging import outstanding, relay
from pizzahouse.messaging.models import InboxMessage

Status = InboxMessage.Status
STAGES = (1, 5)  # so many first; when none of them fails again, the rest
LOOK_SECONDS = 0.1
ADVANCE_SECONDS = 10.0  # how long a saga may take to go on, once its message is handled


@dataclass
class Retried:
    """A message that was sent again, and what came of it."""

    row: InboxMessage
    attempts: int
    saga: Saga | None
    now: InboxMessage | None = None
    after: Saga | None = None

    @property
    def failed(self) -> bool:
        """Whether it failed again."""
        return self.now is not None and self.now.status in (Status.FAILED, Status.DEAD)

    @property
    def advanced(self) -> bool:
        """Whether its saga has made a step since; without a saga, whether it was handled."""
        if self.saga is None:
            return self.now is not None and not self.failed and self.now.status == Status.DONE
        return self.after is not None and self.after.version > self.saga.version

    @property
    def may_advance(self) -> bool:
        """Whether its saga may still go on by itself."""
        handled = self.now is not None and self.now.status == Status.DONE
        running = self.saga is not None and self.saga.outcome is None
        return handled and running and not self.advanced

    @property
    def result(self) -> str:
        """What came of it, in words."""
        if self.now is None:
            return "not handled yet"
        if self.failed:
            return f"failed again: {self.now.error.partition(chr(10))[0]}"
        if self.now.status == Status.IGNORED:
            return f"ignored: {self.now.detail}"
        if self.saga is None:
            return f"handled: {self.after} has begun" if self.after else "handled"
        return self._advance(self.saga)

    def _advance(self, saga: Saga) -> str:
        if saga.outcome:
            return f"handled; its saga was {saga.state} before"
        if not self.advanced:
            return "handled, but its saga has not gone on yet"
        return f"advanced: {saga.state} → {self.after.state}" if self.after else "handled"

    def as_json(self) -> dict[str, Any]:
        """In plain values."""
        return {
            "message_id": str(self.row.message_id),
            "type": self.row.type,
            "saga": self.row.saga_id and str(self.row.saga_id),
            "table": self.saga.table if self.saga else None,
            "advanced": self.advanced,
            "failed": self.failed,
            "result": self.result,
        }


@dataclass
class Report:
    """Everything that was sent again, how much was left, and what cannot be sent."""

    retried: list[Retried] = field(default_factory=list)
    left: int = 0
    unreadable: list[InboxMessage] = field(default_factory=list)


class Command(HouseCommand):
    help = (
        "Send messages again that failed or are dead: one, then a few, then the rest. It stops as soon as one"
        " of them fails again, and says of each saga whether it went on."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("ids", nargs="*", metavar="ID", help="of messages (see `manage.py messages`)")
        parser.add_argument("--dead", action="store_true", help="all that are dead")
        parser.add_argument("--type", metavar="T", help="of those, only messages of this type")
        parser.add_argument("--wait", type=float, default=30.0, metavar="S", help="for each of the stages")
        add_json(parser)

    def handle(self, **options: Any) -> None:
        rows = _chosen(options)
        with _workers():
            report = _retry(rows, options["wait"])
        if options["json"]:
            unreadable = [str(row.message_id) for row in report.unreadable]
            sent = [each.as_json() for each in report.retried]
            print_json({"messages": sent, "left": report.left, "unreadable": unreadable})
        else:
            self._print(report)
        if any(each.failed for each in report.retried) or (report.unreadable and options["ids"]):
            self.code = Exit.ERROR
        elif any(each.now is None for each in report.retried):
            self.code = Exit.STILL_RUNNING

    def _print(self, report: Report) -> None:
        for row in report.unreadable:
            self.stderr.write(f"{row.type} {row.message_id} was never readable, and is not sent: {row.error}")
        if not report.retried:
            self.stderr.write("There is nothing to send again.")
            return
        console = result_console()
        for each in report.retried:
            whose = f"{each.saga.table} {each.saga.pk}" if each.saga else "no saga"
            console.print(f"{each.row.type} {each.row.message_id} ({whose}): {each.result}", markup=False)
        advanced = sum(each.advanced for each in report.retried)
        failed = sum(each.failed for each in report.retried)
        console.print(f"{advanced} of {len(report.retried)} advanced, {failed} failed again.")
        if report.left:
            self.stderr.write(f"It stopped there: {report.left} more were left as they are. Mend the cause.")
        if any(each.now is None for each in report.retried):
            self.stderr.write("Is a worker running? Start one: manage.py rundramatiq")


def _chosen(options: dict[str, Any]) -> list[InboxMessage]:
    """The rows that were meant. Raises Failed."""
    if bool(options["ids"]) == options["dead"]:
        raise Failed("Say which: their ids, or --dead. See `manage.py messages`.", Exit.USAGE)
    if options["type"] and not options["dead"]:
        raise Failed("--type goes with --dead.", Exit.USAGE)
    if options["dead"]:
        dead = InboxMessage.objects.filter(status=Status.DEAD).order_by("id")
        return list(dead.filter(type=options["type"]) if options["type"] else dead)
    found = []
    for text in dict.fromkeys(options["ids"]):
        try:
            rows = InboxMessage.objects.filter(message_id=UUID(text))
        except ValueError:
            raise Failed(f"{text!r} is not a message's id (see `manage.py messages`).", Exit.USAGE) from None
        troubled = list(rows.filter(status__in=(Status.DEAD, Status.FAILED)))
        if not troubled:
            what = "was handled" if rows.exists() else "is not among those that were handled"
            raise Failed(f"Message {text} {what}; there is nothing to retry. List: manage.py messages")
        found += troubled
    return found


def _workers() -> AbstractContextManager[None]:
    return embedded.workers() if embedded.is_embedded() else nullcontext()


def _retry(rows: list[InboxMessage], wait: float) -> Report:
    report = Report(unreadable=[row for row in rows if not relay.is_kept_as_it_came(row)])
    rest = [row for row in rows if row not in report.unreadable]
    for stage in _stages(rest):
        now = {row.pk: row.attempts for row in InboxMessage.objects.filter(pk__in=[row.pk for row in stage])}
        tried = [Retried(row, now.get(row.pk, row.attempts), _saga(row)) for row in stage]
        outstanding.resend(row.message_id for row in stage)
        _watch(tried, wait)
        report.retried += tried
        if any(each.failed or each.now is None for each in tried):
            break
    report.left = len(rest) - len(report.retried)
    return report


def _saga(row: InboxMessage) -> Saga | None:
    return find(row.saga_id) if row.saga_id else None


def _stages(rows: list[InboxMessage]) -> Iterator[list[InboxMessage]]:
    for size in (*STAGES, len(rows)):
        stage, rows = rows[:size], rows[size:]
        if stage:
            yield stage


def _watch(tried: list[Retried], wait: float) -> None:
    """Look until each is handled, or has failed, and its saga has gone on, or time is up."""
    deadline = time.monotonic() + wait
    while _look(tried) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    deadline = min(deadline, time.monotonic() + ADVANCE_SECONDS)
    while _look_at_sagas(tried) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)


def _look(tried: list[Retried]) -> bool:
    """True while some are open."""
    open_ones = {each.row.pk: each for each in tried if each.now is None}
    for row in InboxMessage.objects.filter(pk__in=open_ones):
        each = open_ones[row.pk]
        if row.status in (Status.DONE, Status.IGNORED) or row.attempts > each.attempts:
            each.now = row
    return any(each.now is None for each in tried)


def _look_at_sagas(tried: list[Retried]) -> bool:
    """True while a saga whose message was handled has not gone on."""
    for each in tried:
        if each.saga is None and each.now is not None:
            each.after = _saga(each.row)  # it may have been what begins it
        elif each.saga is not None and each.may_advance:
            each.after = type(each.saga)._default_manager.filter(pk=each.saga.pk).first()
    return any(each.may_advance for each in tried)
