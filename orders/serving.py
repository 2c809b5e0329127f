"""What the commands that serve have in common: start a process, and tell how it goes."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

import dramatiq
import msgspec
from django.core.management.base import CommandParser
from django.db import transaction

from menu.contracts import GetMenu, MenuGot
from orders import embedded, order_text
from orders.cli import Exit, Failed, HouseCommand, add_json, note_console, print_json, result_console
from orders.saga import COMPLETED, Saga
from orders.story import Story
from pizzahouse.messaging import outstanding, relay
from pizzahouse.messaging.handling import ask
from pizzahouse.messaging.messages import Command
from pizzahouse.messaging.models import OutboxMessage
from waiter.contracts import Wish

LOOK_SECONDS = 0.1
BROKER_SECONDS = 3.0  # how long to wait for the broker before saying that it is away
LEFTOVERS = timedelta(seconds=30)  # how long to wait for other tables that make no progress


class ServeCommand(HouseCommand):
    """Starts a scenario for a table, and follows it to its end."""

    scenario: ClassVar[type[Saga]]

    def start(self, **fields: Any) -> Command:
        """The command that starts it, of those fields that it has. Raises Failed."""
        contract: Any = self.scenario.start_contract()
        known = {field.name for field in msgspec.structs.fields(contract)}
        if fields.get("wish") and "wish" not in known:
            raise Failed(f"{self.scenario.label()} takes no --order.", Exit.USAGE)
        command: Command = contract(**{name: value for name, value in fields.items() if name in known})
        return command

    def wishes(self, options: dict[str, Any]) -> dict[str, Any]:
        """Further fields of that command, from the options of a scenario's own command."""
        return {}

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("table", help="letters, digits, dash, underscore; up to 20")
        parser.add_argument("--order", metavar="ORDER", help='"2 x pmghr xl, 1 x proma xl"')
        parser.add_argument("--detach", action="store_true", help="start it, do not follow it")
        parser.add_argument(
            "--timeout", type=float, default=300.0, metavar="S", help="follow for so many seconds"
        )
        add_json(parser)

    def handle(self, **options: Any) -> None:
        self.quiet = options["json"]
        table, wish = _table(options["table"]), _wish(options["order"])
        if not 0 < options["timeout"] < 10_000_000:
            raise Failed("--timeout is a number of seconds above 0.", Exit.USAGE)
        command = self.start(table=table, wish=wish, **self.wishes(options))
        if embedded.is_embedded():
            embedded.migrate()
        _check_order(wish)
        if options["detach"]:
            self._detach(table, command)
        else:
            self._follow(table, command, options["timeout"])

    # --- Starting ---------------------------------------------------------------------------------

    def _begin(self, command: Command) -> UUID:
        with transaction.atomic():
            return self.scenario.begin(command)

    def _detach(self, table: str, command: Command) -> None:
        if embedded.is_embedded():
            saga_id = self._begin(command)
            self.note("No worker runs here: the next `manage.py serve_table` serves this table, too.")
        else:
            with _broker() as reached:
                saga_id = self._begin(command)
            if not reached:
                self.note(
                    "RabbitMQ does not answer. The table is accepted: the outbox holds it, and the"
                    " workers go on as soon as RabbitMQ is back."
                )
        if self.quiet:
            print_json(_document(saga_id, table, None, 0.0))
        else:
            result_console().print(f"{table} is being served: {saga_id}")
            self.note(f"Look at it: manage.py saga {saga_id}")

    def _follow(self, table: str, command: Command, timeout: float) -> None:
        if embedded.is_embedded():
            with embedded.workers():
                self._watch(self._begin(command), table, timeout)
            return
        with _broker() as reached:
            saga_id = self._begin(command)
            if not reached:
                raise Failed(
                    "RabbitMQ does not answer. Start it, or correct RABBITMQ_URL. The table is accepted:"
                    f" the outbox holds it.\nLook at it later: manage.py saga {saga_id}",
                    Exit.UNREACHABLE,
                )
            self._watch(saga_id, table, timeout)

    def note(self, text: str) -> None:
        """On stderr."""
        note_console().print(text, markup=False)

    # --- Following --------------------------------------------------------------------------------

    def _watch(self, saga_id: UUID, table: str, timeout: float) -> None:
        began = time.monotonic()
        try:
            saga = self._tell(saga_id, began + timeout)
        except (KeyboardInterrupt, EOFError):
            self.note(f"\nNot watching any more; the table is still served: manage.py saga {saga_id}")
            raise KeyboardInterrupt from None
        seconds = time.monotonic() - began
        if self.quiet:
            print_json(_document(saga_id, table, saga, seconds))
        self._finish(saga_id, saga, timeout)

    def _finish(self, saga_id: UUID, saga: Saga | None, timeout: float) -> None:
        if saga is not None and saga.outcome == COMPLETED:
            return
        if saga is not None and saga.outcome:
            self.code = Exit.NOT_COMPLETED
            self.note(f"It ended {saga.outcome}. Why: manage.py saga {saga_id}")
            return
        if saga is not None and saga.state in saga.for_humans:
            self.code = Exit.NOT_COMPLETED
            self.note(
                f'It needs the manager: manage.py decide_saga {saga_id} --retry | --write-off --reason "…"'
            )
            return
        self.code = Exit.STILL_RUNNING
        self.note(f"Still running after {timeout:g} s; it goes on: manage.py saga {saga_id}")

    def _tell(self, saga_id: UUID, deadline: float) -> Saga | None:
        """Tell the story until it ends, or a human is needed, or the deadline passes."""
        result = note_console() if self.quiet else result_console()
        result.quiet = self.quiet
        begins = self.scenario.start_contract().__name__
        with Story(saga_id, result, note_console(), begins) as story:
            progress = time.monotonic()
            warned = False
            while True:
                saga = self.scenario._default_manager.filter(pk=saga_id).first()
                over = saga is not None and (saga.outcome is not None or saga.state in saga.for_humans)
                if story.go_on():
                    progress = time.monotonic()
                if (over and not self._others_under_way(progress)) or time.monotonic() > deadline:
                    return saga
                if not over and self.look_after(story):
                    progress = time.monotonic()
                if not warned and not over and time.monotonic() - progress > 5:
                    warned = True
                    self._why_waiting(saga_id, saga)
                time.sleep(LOOK_SECONDS)

    def look_after(self, story: Story) -> bool:
        """Do what the guests need, between two looks; True if there was something."""
        return False

    def _others_under_way(self, progress: float) -> bool:
        """In the embedded house the tables that a killed process left are served here, too."""
        if not embedded.is_embedded() or time.monotonic() - progress > LEFTOVERS.total_seconds():
            return False
        return bool(outstanding.sagas_under_way(LEFTOVERS))

    def _why_waiting(self, saga_id: UUID, saga: Saga | None) -> None:
        for each in saga.waits_for() if saga else outstanding.of(saga_id):
            self.note(f"waits for {each}")
        if not embedded.is_embedded():
            self.note("Is a worker running? Start one: manage.py rundramatiq")


def _table(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,20}", text):
        raise Failed(
            f"{text!r} is not a table: use letters, digits, dash and underscore, up to 20.", Exit.USAGE
        )
    return text


def _wish(text: str | None) -> tuple[Wish, ...]:
    try:
        return order_text.parse(text) if text is not None else ()
    except order_text.UnreadableOrder as error:
        raise Failed(str(error), Exit.USAGE) from error


def _check_order(wish: tuple[Wish, ...]) -> None:
    if not wish:
        return
    answer = ask(GetMenu())
    assert isinstance(answer, MenuGot)
    try:
        order_text.check(wish, answer.menu)
    except order_text.NotOnTheMenu as error:
        raise Failed(str(error)) from error


@contextmanager
def _broker() -> Iterator[bool]:
    """A relay of our own, so that the first message is sent at once; False if the broker is away."""
    publisher = dramatiq.get_broker().publisher()  # type: ignore[attr-defined]
    relay.start(publisher)
    deadline = time.monotonic() + BROKER_SECONDS
    while not publisher.ready and time.monotonic() < deadline:
        time.sleep(0.02)
    reached = publisher.ready
    if not reached:
        relay.stop()  # nothing is leased to a relay that cannot send it
    try:
        yield reached
    finally:
        relay.stop()


def _document(saga_id: UUID, table: str, saga: Saga | None, seconds: float) -> dict[str, Any]:
    figures = saga.figures() if saga else {}
    return {
        "saga": str(saga_id),
        "table": table,
        "state": saga.state if saga else "accepted",
        "outcome": saga.outcome if saga else None,
        "pizzas": figures.get("pizzas", 0),
        "bill": figures.get("bill", {}),
        "messages": OutboxMessage.objects.filter(saga_id=saga_id).count(),
        "seconds": round(seconds, 3),
    }
