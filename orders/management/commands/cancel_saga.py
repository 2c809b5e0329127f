"""`manage.py cancel_saga ID --reason "…"`: call a process off."""

from typing import Any

from orders.contracts import Cancel
from orders.saga import Saga
from orders.steering import SteeringCommand


class Command(SteeringCommand):
    help = (
        "Call a process off: what it has done so far is undone. After the pivot (the pizzas are being"
        " served) that is refused."
    )

    def message(self, options: dict[str, Any]) -> Cancel:
        return Cancel(by=options["by"], reason=options["reason"])

    def refusal(self, saga: Saga) -> str:
        if saga.outcome:
            return f"{saga.table} is {saga.state} already: there is nothing to cancel."
        if saga.state in saga.for_humans:
            return (
                f"{saga.table} is past the point where it can be undone, and needs the manager: manage.py"
                f' decide_saga {saga.pk} --retry | --write-off --reason "…"'
            )
        states = ", ".join(state for on, state in saga.steps() if on is Cancel)
        could = f"it could while it was {states}" if states else f"{saga.label()} has no step on Cancel"
        return (
            f"{saga.table} is {saga.state}, and cannot be cancelled{' any more' if states else ''}: {could}."
            f" Look at it: manage.py saga {saga.pk}"
        )
