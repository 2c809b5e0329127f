"""`manage.py explore_saga table_service`: a scenario in every order in which its messages can arrive."""

import time
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from django.db import connection

from orders import embedded
from orders.cli import Exit, Failed, HouseCommand, add_json, print_json, result_console, scenario_of
from orders.explorer import findings
from orders.explorer.explore import explore, start
from orders.explorer.worlds import BOUNDED, Bounds, Explored
from orders.office.models import ExplorerReport
from orders.saga import Saga
from pizzahouse.messaging import messages
from pizzahouse.messaging.errors import InvalidMessage

DEFAULTS = Bounds()


def _number(text: str) -> int:
    """Raises ArgumentTypeError."""
    if not text.isdecimal() or len(text) > 9:
        raise ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return int(text)


class Command(HouseCommand):
    help = (
        "Run a scenario's real steps and the modules' real handlers through all orders in which their"
        " messages can arrive, with a bounded number of things that go wrong, and crashes between any two"
        " commits; and show every state that can be reached, whatever can get stuck, and every promise that"
        " can be broken."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("scenario", help="for example table_service")
        parser.add_argument(
            "--pizzas", type=_number, default=2, metavar="N", help="that the guests order (2)"
        )
        parser.add_argument("--stock", type=_number, metavar="N", help="of each kind that can be baked")
        for name, what in BOUNDED.items():
            default = getattr(DEFAULTS, name)
            parser.add_argument(
                f"--{name}", type=_number, default=default, metavar="N", help=f"at most: {what} ({default})"
            )
        parser.add_argument("--most", type=_number, default=5_000_000, metavar="N", help="worlds to look at")
        parser.add_argument("--write-test", type=Path, metavar="FILE", help="the first finding, as a test")
        parser.add_argument("--keep", action="store_true", help="in the database, for the manager's office")
        add_json(parser)

    def handle(self, **options: Any) -> None:
        scenario = scenario_of(options["scenario"])
        _check(scenario, options)
        if options["keep"]:
            _check_that_it_can_be_kept()
        stock = options["pizzas"] if options["stock"] is None else options["stock"]
        bounds = Bounds(**{name: options[name] for name in Bounds._fields})
        began = time.monotonic()
        sizes = {"pizzas": options["pizzas"], "stock": stock}
        explored = explore(scenario, **sizes, bounds=bounds, most=options["most"])
        seconds = time.monotonic() - began
        document = findings.document(explored)
        if options["json"]:
            rest = {**sizes, "bounds": bounds._asdict(), "seconds": round(seconds, 1)}
            print_json({**document, **rest})
        else:
            self._print(explored, seconds)
        if options["keep"]:
            report = ExplorerReport.keep(document, {**sizes, **bounds._asdict()}, seconds)
            self.stderr.write(f"Kept in the database: the manager's office shows it as report {report.pk}.")
        if not explored.complete:
            self.code = Exit.ERROR
            self.stderr.write(
                "Not all was looked at, so this proves nothing. Raise --most, or lower a bound."
            )
        if explored.findings:
            self.code = Exit.ERROR
            if options["write_test"]:
                text = findings.as_test(explored, explored.findings[0], **sizes)
                options["write_test"].write_text(text, encoding="utf-8")
                self.stderr.write(f"The first finding is a test now: {options['write_test']}")

    def _print(self, explored: Explored, seconds: float) -> None:
        console = result_console()
        for finding in explored.findings:
            for line in findings.lines(finding):
                console.print(line, markup=False)
            console.print(f"\n{findings.mermaid(finding)}\n", markup=False)
        what = "all" if explored.complete else "only the first"
        console.print(
            f"{explored.scenario}: {what} {explored.worlds} worlds that can be reached,"
            f" {explored.moves} moves, {explored.runs} runs of handlers, {seconds:.0f} s."
        )
        console.print(f"States of the saga: {', '.join(explored.states)}.")
        found = len(explored.findings)
        console.print("Nothing is wrong there." if not found else f"Findings: {found}.")


def _check_that_it_can_be_kept() -> None:
    """Say at once what would only be found in the end. While it explores, a database in memory is in the
    place of this one. Raises Failed, and what the database says of itself."""
    if connection.vendor == "sqlite" and connection.is_in_memory_db():  # type: ignore[attr-defined]
        raise Failed(
            "--keep has nowhere to keep it: DATABASE_URL names a database in memory, as `make explore` does."
            " Run `manage.py explore_saga` itself, and name the database that the manager's office reads.",
            Exit.USAGE,
        )
    if embedded.is_embedded():
        embedded.migrate()
    ExplorerReport.objects.exists()


def _check(scenario: type[Saga], options: dict[str, Any]) -> None:
    """Refuse at once what would only be found in the end. Raises Failed."""
    try:
        messages.encode(start(scenario, options["pizzas"]))
    except InvalidMessage as error:
        raise Failed(
            f"--pizzas {options['pizzas']} cannot be ordered: {error.__cause__ or error}", Exit.USAGE
        ) from error
    file = options["write_test"]
    if file is not None and not file.parent.is_dir():
        raise Failed(f"There is no folder {file.parent} to write the test to.", Exit.USAGE)
