"""`manage.py saga ID`: one process, what it waits for, and its history."""

from typing import Any

from django.core.management.base import CommandParser
from rich.markup import escape
from rich.table import Table

from orders.cli import HouseCommand, add_json, print_json, result_console, saga_of
from orders.saga import Saga
from pizzahouse.messaging import history, outstanding

COLOURS = {"failure": "red", "ignored": "yellow", "transition": "green"}


class Command(HouseCommand):
    help = "Show one process: its state, what it waits for, and its whole history."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("saga", help="its id (see `manage.py sagas`)")
        add_json(parser)

    def handle(self, **options: Any) -> None:
        saga = saga_of(options["saga"])
        waiting, entries = saga.waits_for(), history.of(saga.pk)
        if options["json"]:
            print_json(_document(saga, waiting, entries))
        else:
            _print(saga, waiting, entries)


def _document(
    saga: Saga, waiting: list[outstanding.Outstanding], entries: list[history.Entry]
) -> dict[str, Any]:
    return {
        "saga": str(saga.pk),
        "scenario": saga.label(),
        "table": saga.table,
        "state": saga.state,
        "outcome": saga.outcome,
        "started_at": saga.started_at,
        "finished_at": saga.finished_at,
        "deadline_at": saga.deadline_at,
        "waiting_for": [each.as_json() for each in waiting],
        "history": [entry.as_json() for entry in entries],
    }


def _print(saga: Saga, waiting: list[outstanding.Outstanding], entries: list[history.Entry]) -> None:
    console = result_console()
    console.print(f"{saga.label()} {saga.pk}")
    console.print(f"table {saga.table}, {saga.state}" + (f", {saga.outcome}" if saga.outcome else ""))
    for each in waiting:
        console.print(f"waits for {each}", markup=False)
    if saga.state in saga.for_humans:
        console.print(
            f'waits for a human: manage.py decide_saga {saga.pk} --retry | --write-off --reason "…"'
        )
    elif saga.deadline_at:
        console.print(f"waits until {saga.deadline_at:%Y-%m-%d %H:%M:%S}, then it asks again or gives up")
    table = Table("at", "", "", "state", "detail", box=None)
    for entry in entries:
        states = f"{entry.from_state} → {entry.to_state}" if entry.to_state else ""
        colour = COLOURS.get(entry.kind, "default")
        kind = f"[{colour}]{entry.kind}[/]"
        table.add_row(f"{entry.at:%H:%M:%S.%f}"[:-3], kind, entry.type, states, escape(entry.detail))
    console.print(table)
