"""`manage.py bench`: how fast the house is, and what its safety costs."""

import argparse
import signal
from collections.abc import Callable
from typing import Any

import msgspec
from django.conf import settings
from django.core.management.base import CommandParser
from django.db import connection

from orders.bench import direct_tables, house, report, tables
from orders.bench.figures import Direct, Driven, Plan, Report
from orders.bench.servers import rabbitmq_version
from orders.cli import Exit, Failed, HouseCommand, add_json, print_json, result_console


class Command(HouseCommand):
    help = (
        "Measure how fast tables are served, by real workers on the configured PostgreSQL and RabbitMQ, in"
        " a database and queues of the bench's own; and how fast the same messages go over plain Dramatiq"
        " with nothing saved. Sagas run in a closed loop: a new one starts when one ends. Durations are by"
        " the database's clock. SQL statements are those of the handlers, BEGIN and COMMIT included;"
        " commits are PostgreSQL's count, with the relays'. CPU of the servers is all they use meanwhile."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        sizes = (
            ("sagas", 400, 100_000, "how many tables to serve"),
            ("pizzas", 5, 1000, "how many pizzas each of them orders"),
            ("processes", 2, 64, "worker processes"),
            ("threads", 8, 64, "threads of each worker process"),
            ("concurrency", 32, 10_000, "how many sagas run at once"),
        )
        for name, default, most, what in sizes:
            parser.add_argument(
                f"--{name}", type=_count(most), default=default, metavar="N", help=f"{what} ({default})"
            )
        add_json(parser)
        # How the bench runs its driver in the house that it opened:
        parser.add_argument("--inside", choices=_INSIDE, help=argparse.SUPPRESS)
        parser.add_argument("--groups", type=int, nargs="*", default=(), help=argparse.SUPPRESS)

    def handle(self, **options: Any) -> None:
        plan = msgspec.convert(options, Plan)
        if options["inside"]:
            print_json(_INSIDE[options["inside"]](plan, options["groups"]))
            return
        if connection.vendor != "postgresql" or not settings.RABBITMQ_URL:
            raise Failed(
                "The bench needs real servers: set DATABASE_URL to a PostgreSQL database and RABBITMQ_URL to"
                " a RabbitMQ.",
                Exit.USAGE,
            )
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, _interrupt)
        result = run(plan)
        if options["json"]:
            print_json(result)
        else:
            result_console().print(report.table(result))


def run(plan: Plan) -> Report:
    """Open a house, measure, and close it. Raises Failed."""
    connection.ensure_connection()
    where = report.machine(rabbitmq_version())
    with house.opened(plan) as own:
        statements = _inside(own, plan, "statements", [], float)
        before = own.commits()
        with own.workers(plan) as groups:
            driven = _inside(own, plan, "house", groups, Driven)
        commits = own.commits() - before
        with own.direct_workers(plan) as groups:
            direct = _inside(own, plan, "direct", groups, Direct)
    return report.report(plan, where, statements, commits, driven, direct)


def _inside(own: house.House, plan: Plan, what: str, groups: list[int], kind: type[Any]) -> Any:
    sizes = [f"--{name}={size}" for name, size in msgspec.structs.asdict(plan).items()]
    document = own.manage("bench", "--inside", what, *sizes, "--groups", *map(str, groups))
    return msgspec.json.decode(document, type=kind)


_INSIDE: dict[str, Callable[..., Any]] = {
    "statements": lambda plan, _groups: tables.count_statements(plan),
    "house": tables.drive,
    "direct": direct_tables.drive,
}


def _count(most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text[:10]) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {most}")
        return int(text)

    return parse


def _interrupt(*_signal: Any) -> None:
    """Once: nothing shall disturb the cleaning up that follows."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt
