"""What the commands share: how they speak, and with which exit code they end."""

import os
import sys
from argparse import ArgumentParser
from enum import IntEnum
from typing import Any, NoReturn, TextIO
from uuid import UUID

import msgspec
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import InterfaceError, OperationalError, ProgrammingError, connections
from rich.console import Console

from orders.saga import Saga, find, scenarios
from pizzahouse.messaging import outstanding


class Exit(IntEnum):
    """How a command ended."""

    COMPLETED = 0
    ERROR = 1
    USAGE = 2
    STILL_RUNNING = 3
    UNREACHABLE = 4
    NOT_COMPLETED = 5  # called off, or waiting for the manager
    INTERRUPTED = 130


NO_TABLES = ('relation "', "no such table")  # how PostgreSQL and SQLite say it


class Failed(CommandError):
    """The command could not do it: what happened, why, and what to type next."""

    def __init__(self, message: str, code: Exit = Exit.ERROR) -> None:
        super().__init__(message, returncode=code)


class HouseCommand(BaseCommand):
    """A command for people and scripts: the result on stdout, the rest on stderr, no traceback."""

    code = Exit.COMPLETED

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)

        def refuse(message: str) -> NoReturn:
            raise Failed(f"{message}. See `manage.py {subcommand} --help`.", Exit.USAGE)

        parser.error = refuse  # type: ignore[method-assign]
        return parser

    def run_from_argv(self, argv: list[str]) -> None:
        try:
            parser = self.create_parser(argv[0], argv[1])
            options = vars(parser.parse_args(argv[2:]))
            self.execute(*options.pop("args", ()), **options)
            sys.stdout.flush()
        except BrokenPipeError:  # whoever reads it has had enough, as `head` has
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self.code = Exit.ERROR
        except KeyboardInterrupt:
            self.code = Exit.INTERRUPTED
        except CommandError as error:
            self.stderr.write(f"Error: {error}")
            self.code = Exit(error.returncode)
        finally:
            connections.close_all()
        sys.exit(self.code)

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run, with the database's errors in words."""
        try:
            return super().execute(*args, **options)
        except (OperationalError, InterfaceError, ProgrammingError) as error:
            reason = str(error).strip().splitlines()[0]
            if any(sign in reason for sign in NO_TABLES):
                raise Failed(
                    "The database has no tables of this house yet. Make them: manage.py migrate"
                ) from error
            if isinstance(error, ProgrammingError):
                raise
            raise Failed(
                f"The database does not answer: {reason}\nStart it, or correct DATABASE_URL.",
                Exit.UNREACHABLE,
            ) from error


def add_json(parser: ArgumentParser) -> None:
    """The option --json."""
    parser.add_argument("--json", action="store_true", help="print one JSON document, nothing else")


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def result_console() -> Console:
    """stdout: what the command is for."""
    return _console(sys.stdout)


def note_console() -> Console:
    """stderr: how it goes."""
    return _console(sys.stderr)


def _console(stream: TextIO) -> Console:
    width = None if stream.isatty() else 160  # nothing is folded in a pipe
    return Console(file=stream, highlight=False, width=width)


def scenario_of(text: str) -> type[Saga]:
    """The scenario that was typed. Raises Failed."""
    known = {scenario.label(): scenario for scenario in scenarios()}
    if text not in known:
        names = ", ".join(sorted(known))
        raise Failed(f"There is no scenario {text!r}; there is {names}.", Exit.USAGE)
    return known[text]


def saga_of(text: str) -> Saga:
    """The saga that was typed. Raises Failed."""
    try:
        saga_id = UUID(text)
    except ValueError:
        raise Failed(f"{text!r} is not a saga's id (see `manage.py sagas`).", Exit.USAGE) from None
    saga = find(saga_id)
    waiting = outstanding.of(saga_id) if saga is None else []
    for each in waiting:
        if each.error:
            raise Failed(
                f"Saga {saga_id} is accepted and could not start: {each}\n"
                f"Mend the cause, then: manage.py retry_messages {each.message_id}"
            )
    if waiting:
        raise Failed(
            f"Saga {saga_id} is accepted and has not started: no worker of `orders` has taken it yet."
            " Start one: manage.py rundramatiq",
            Exit.STILL_RUNNING,
        )
    if saga is None:
        raise Failed(f"There is no saga {saga_id}. List them: manage.py sagas")
    return saga
