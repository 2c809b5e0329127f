"""`manage.py bench_office`: what the office's pages ask of a database with a million processes."""

import argparse
import os
import time
from secrets import token_hex
from typing import Any

import msgspec
from django.core.management.base import CommandParser
from django.db import connection
from rich.table import Table

from orders.bench import archive, pages
from orders.bench.house import House
from orders.bench.report import machine
from orders.bench.servers import own_database
from orders.cli import Exit, Failed, HouseCommand, add_json, note_console, print_json, result_console

MOST_MILLISECONDS = 200.0


class Command(HouseCommand):
    help = (
        "Fill a database of its own with processes, a million unless told otherwise, ask for each page of the"
        " manager's office, and tell how many statements and how many milliseconds of the database that took:"
        " the first time, and the median of five more. Ends with 1 where a page takes more than 200 ms, or"
        " reads a big table from end to end. A million processes take 5 GB of the server's disk, and some"
        " minutes."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--sagas", type=int, default=1_000_000, metavar="N", help="processes (1000000)")
        parser.add_argument(
            "--with-messages",
            type=int,
            metavar="N",
            help="how many of them, the newest, keep their messages (a fifth of them)",
        )
        parser.add_argument(
            "--times", type=int, default=5, metavar="N", help="how often each page is asked for, warm (5)"
        )
        parser.add_argument("--keep", action="store_true", help="leave the database there, to look around")
        add_json(parser)
        parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)

    def handle(self, **options: Any) -> None:
        sagas = options["sagas"]
        kept = sagas // 5 if options["with_messages"] is None else options["with_messages"]
        if not 1000 <= sagas <= 100_000_000 or not 0 <= kept <= sagas:
            raise Failed("--sagas is at least 1000, --with-messages at most as many.", Exit.USAGE)
        times = options["times"]
        if times < 1:
            raise Failed("--times is at least 1.", Exit.USAGE)
        if options["inside"]:
            print_json(_measure(sagas, kept, times))
            return
        if connection.vendor != "postgresql":
            raise Failed(
                "The bench needs a real server: set DATABASE_URL to a PostgreSQL database.", Exit.USAGE
            )
        result = _in_a_database_of_its_own(
            ["--sagas", str(sagas), "--with-messages", str(kept), "--times", str(times)], keep=options["keep"]
        )
        if options["json"]:
            print_json(result)
        else:
            result_console().print(_table(result))
        _judge(result["pages"])


def _in_a_database_of_its_own(sizes: list[str], *, keep: bool) -> dict[str, Any]:
    where = msgspec.to_builtins(machine(""))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with own_database(token_hex(4), keep=keep) as (database, url):
        environment = os.environ | {
            "DATABASE_URL": url,
            "RABBITMQ_URL": "",
            "LOG_LEVEL": "CRITICAL",
            "DJANGO_DEBUG": "false",
            "PYTHONWARNINGS": "ignore:No directory at",  # where collectstatic never ran
        }
        note_console().print(f"The bench's own database: {database}", markup=False)
        house = House(database, "", environment)
        house.manage("migrate", "--verbosity", "0")
        inside = house.manage("bench_office", "--inside", *sizes)
        found: dict[str, Any] = msgspec.json.decode(inside)
    return {"machine": where | {"memory_gigabytes": round(memory / 1e9, 1)}} | found


def _measure(sagas: int, kept: int, times: int) -> dict[str, Any]:
    note = note_console()
    began = time.monotonic()
    filled = archive.fill(sagas, kept, lambda text: note.print(text, markup=False))
    seconds = time.monotonic() - began
    note.print(f"Filled in {seconds:.0f} s. Asking for the pages ...", markup=False)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        size = cursor.fetchone()[0]
    return {
        "sagas": filled.sagas,
        "messages": filled.messages,
        "gigabytes": round(size / 1e9, 1),
        "seconds_to_fill": round(seconds),
        "pages": [vars(page) for page in pages.measure(filled.examples, times)],
    }


def _table(result: dict[str, Any]) -> Table:
    where = result["machine"]
    title = (
        f"{result['sagas']:,} processes, {result['messages']:,} rows of messages, {result['gigabytes']} GB;"
        f" PostgreSQL {where['postgresql']}, {where['cores']} cores, {where['memory_gigabytes']:.0f} GB"
    )
    table = Table("page", title=title)
    for name in ("statements", "ms, first", "ms"):
        table.add_column(name, justify="right")
    for page in result["pages"]:
        table.add_row(page["name"], str(page["statements"]), f"{page['cold']:.1f}", f"{page['warm']:.1f}")
    return table


def _judge(measured: list[dict[str, Any]]) -> None:
    """Raises Failed where a page is slow, or reads whole tables, after telling of what."""
    slow = [page for page in measured if page["warm"] > MOST_MILLISECONDS]
    for page in slow:
        note_console().print(f"{page['name']}:\n{page['slowest']}\n{page['plan']}\n", markup=False)
    if slow:
        names = ", ".join(page["name"] for page in slow)
        raise Failed(f"More than {MOST_MILLISECONDS:g} ms of the database: {names}.")
    greedy = [
        f"{page['name']} ({', '.join(page['reads_whole'])})" for page in measured if page["reads_whole"]
    ]
    if greedy:
        raise Failed(f"Whole tables are read, without an index: {', '.join(greedy)}.")
