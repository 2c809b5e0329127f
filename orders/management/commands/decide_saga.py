"""`manage.py decide_saga ID --retry | --write-off --reason "…"`: what the manager has decided."""

from typing import Any

from django.core.management.base import CommandParser

from orders.contracts import Decide
from orders.saga import Saga
from orders.steering import SteeringCommand


class Command(SteeringCommand):
    help = "Decide how a process goes on that needs the manager: try again, or write off what is missing."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        decision = parser.add_mutually_exclusive_group(required=True)
        decision.add_argument("--retry", action="store_true", help="ask again for what did not come")
        decision.add_argument("--write-off", action="store_true", help="go on without it")

    def message(self, options: dict[str, Any]) -> Decide:
        decision = "retry" if options["retry"] else "write off"
        return Decide(decision=decision, by=options["by"], reason=options["reason"])  # type: ignore[arg-type]

    def refusal(self, saga: Saga) -> str:
        return (
            f"{saga.table} is {saga.state} and needs no decision. Those that do: manage.py sagas --state"
            f" {min(saga.for_humans, default='needs_manager')}"
        )
