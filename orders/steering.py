"""What people tell a process: what would come of it is shown first, and it is done here and now."""

import getpass
from abc import abstractmethod
from typing import Any

import msgspec
from django.core.management.base import CommandParser
from rich.markup import escape

from orders.cli import Exit, Failed, HouseCommand, add_json, print_json, result_console, saga_of
from orders.saga import Saga
from pizzahouse.messaging import messages
from pizzahouse.messaging.envelope import Letter
from pizzahouse.messaging.errors import InvalidMessage
from pizzahouse.messaging.handling import perform
from pizzahouse.messaging.inbox import Outcome, Status
from pizzahouse.messaging.messages import Command as Message


class SteeringCommand(HouseCommand):
    """Tells one process something, with who says so and why, which its history keeps."""

    @abstractmethod
    def message(self, options: dict[str, Any]) -> Message:
        """What to tell it."""

    @abstractmethod
    def refusal(self, saga: Saga) -> str:
        """Why it does not take this in its state, and what to do instead."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("saga", help="its id (see `manage.py sagas`)")
        parser.add_argument("--reason", required=True, metavar="TEXT", help="why; it is kept")
        parser.add_argument("--by", metavar="NAME", help="who says so (default: your login name)")
        parser.add_argument("--dry-run", action="store_true", help="only show what would come of it")
        add_json(parser)

    def handle(self, **options: Any) -> None:
        options["by"] = options["by"] or _user()
        message = self.message(options)
        try:
            messages.encode(message)
        except InvalidMessage as error:
            raise Failed(str(error.__cause__ or error), Exit.USAGE) from error
        saga = saga_of(options["saga"])
        foreseen, letters = saga.preview(saga.pk, message)
        if foreseen.status == Status.IGNORED:
            raise Failed(self.refusal(saga))
        if not options["dry_run"]:
            done = perform(message, to=saga.address(), saga=saga.pk)
            if done.status not in (Status.DONE, Status.IGNORED):
                raise Failed(f"It failed: {done.error}\nLook at it: manage.py messages")
            if done.status == Status.IGNORED:  # it went on between the preview and this
                raise Failed(self.refusal(saga_of(options["saga"])))
            foreseen = Outcome(done.status, done.step, done.from_state, done.to_state, done.detail)
        self._report(saga, foreseen, letters, options)

    def _report(self, saga: Saga, outcome: Outcome, letters: list[Letter], options: dict[str, Any]) -> None:
        commands = [each for each in letters if messages.kind(each.envelope.type) == "command"]
        if options["json"]:
            print_json(
                {
                    "saga": str(saga.pk),
                    "table": saga.table,
                    "dry_run": options["dry_run"],
                    "from_state": outcome.from_state,
                    "to_state": outcome.to_state,
                    "detail": outcome.detail,
                    "sends": [
                        {
                            "type": each.envelope.type,
                            "to": each.envelope.destination,
                            "payload": msgspec.Raw(each.payload),
                        }
                        for each in commands
                    ],
                }
            )
            return
        console = result_console()
        would = "would go" if options["dry_run"] else "goes"
        console.print(f"{escape(saga.table)} {would} from {outcome.from_state} to {outcome.to_state}")
        if outcome.detail:
            console.print(f"  {outcome.detail}", markup=False)
        for each in commands:
            payload = msgspec.json.format(each.payload, indent=0).decode()
            console.print(f"  {each.envelope.destination}: {each.envelope.type} {payload}", markup=False)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "somebody"
