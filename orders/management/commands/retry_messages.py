"""`manage.py retry_messages`: send again what is dead or failing, carefully, and tell what came of it."""

from contextlib import nullcontext
from typing import Any
from uuid import UUID

from django.core.management.base import CommandParser

from orders import embedded
from orders.cli import Exit, Failed, HouseCommand, add_json, print_json, result_console
from orders.retrying import Report, retry
from pizzahouse.messaging.models import InboxMessage

Status = InboxMessage.Status


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
        if not 0 <= options["wait"] < 10_000_000:
            raise Failed("--wait is a number of seconds from 0 on.", Exit.USAGE)
        rows = _chosen(options)
        with embedded.workers() if embedded.is_embedded() else nullcontext():
            report = retry(rows, options["wait"])
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
