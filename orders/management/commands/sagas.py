"""`manage.py sagas`: the processes."""

from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone
from rich.table import Table

from orders.cli import HouseCommand, add_json, print_json, result_console
from orders.saga import Saga, scenarios
from pizzahouse.messaging.models import InboxMessage


class Command(HouseCommand):
    help = "List the processes, newest first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--state", help="only those in this state")
        parser.add_argument("--table", help="only those of this table")
        add_json(parser)

    def handle(self, **options: Any) -> None:
        sagas = _select(options["state"], options["table"])
        errors = _last_errors()
        documents = [_document(saga, errors) for saga in sagas]
        if options["json"]:
            print_json(documents)
        else:
            self._print(documents)

    def _print(self, documents: list[dict[str, Any]]) -> None:
        if not documents:
            self.stderr.write("No processes. Start one: manage.py serve_table TBL1")
            return
        table = Table("saga", "scenario", "table", "state", "age", "last error", box=None)
        for each in documents:
            age = f"{each['age_seconds']:.0f} s"
            names = (each["saga"], each["scenario"], each["table"], each["state"])
            table.add_row(*names, age, (each["last_error"] or "").partition("\n")[0])
        result_console().print(table)


def _select(state: str | None, table: str | None) -> list[Saga]:
    wanted = {"state": state, "table": table}
    filters = {name: value for name, value in wanted.items() if value is not None}
    found: list[Saga] = []
    for scenario in scenarios():
        found.extend(scenario._default_manager.filter(**filters))
    return sorted(found, key=lambda saga: saga.pk, reverse=True)


def _last_errors() -> dict[Any, str]:
    failing = InboxMessage.objects.filter(status__in=(InboxMessage.Status.FAILED, InboxMessage.Status.DEAD))
    return dict(failing.order_by("handled_at").values_list("saga_id", "error"))


def _document(saga: Saga, errors: dict[Any, str]) -> dict[str, Any]:
    return {
        "saga": str(saga.pk),
        "scenario": saga.label(),
        "table": saga.table,
        "state": saga.state,
        "outcome": saga.outcome,
        "started_at": saga.started_at,
        "age_seconds": round((timezone.now() - saga.started_at).total_seconds(), 1),
        "last_error": errors.get(saga.pk),
    }
