"""`manage.py messages`: what is pending, failing and dead."""

from itertools import islice
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone
from rich.markup import escape
from rich.table import Table

from orders.cli import HouseCommand, add_json, print_json, result_console
from pizzahouse.messaging import outstanding
from pizzahouse.messaging.outstanding import Outstanding, Why

KINDS = {Why.FAILED: "--failing", Why.DEAD: "--dead", Why.PENDING: "--pending"}


class Command(HouseCommand):
    help = "List the messages that are failing, dead, or pending (put, due, and not with the broker yet)."

    def add_arguments(self, parser: CommandParser) -> None:
        for option in KINDS.values():
            parser.add_argument(option, action="store_true", help=f"only those that are {option[2:]}")
        parser.add_argument("--limit", type=int, default=200, metavar="N", help="of each kind at most")
        add_json(parser)

    def handle(self, **options: Any) -> None:
        wanted = [why for why, option in KINDS.items() if options[option[2:]]] or list(KINDS)
        limit = max(options["limit"], 0)
        found = [list(islice(outstanding.troubled(why), limit + 1)) for why in wanted]
        rows = [each for kind in found for each in kind[:limit]]
        if options["json"]:
            print_json([each.as_json() for each in rows])
        else:
            self._print(rows)
        if any(len(kind) > limit for kind in found):
            self.stderr.write(f"There are more; these are {limit} of each kind: --limit N")

    def _print(self, rows: list[Outstanding]) -> None:
        if not rows:
            self.stderr.write("None.")
            return
        table = Table("message", "type", "to", "saga", "status", "since", "attempts", "error", box=None)
        for each in rows:
            since = f"{timezone.localtime(each.since):%Y-%m-%d %H:%M:%S}"
            ids = (str(each.message_id), each.type, each.destination, str(each.saga_id or ""))
            error = escape(each.error.partition("\n")[0])
            table.add_row(*ids, each.why, since, str(each.attempts or ""), error)
        result_console().print(table)
        if any(each.why == Why.DEAD for each in rows):
            self.stderr.write("When the cause is mended: manage.py retry_messages --dead")
