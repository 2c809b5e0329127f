"""One exploration, from a scenario's name to what came of it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.apps import apps
from django.test import override_settings

from orders.explorer.machine import Machine
from orders.explorer.memory import in_memory
from orders.explorer.search import Search
from orders.explorer.worlds import Bounds, Explored
from orders.saga import Saga
from pizzahouse.messaging.handling import handlers
from pizzahouse.messaging.messages import Message
from waiter.contracts import Wish

# Whatever may go wrong by chance may go wrong; pauses are pauses; deadlines are what the steps say.
SETTINGS: dict[str, Any] = {
    "PIZZAHOUSE_MISHAPS": {"burned": 0.5, "declined": 0.5, "left": 0.5},
    "PIZZAHOUSE_COLD_OVEN": (),
    "PIZZAHOUSE_PACE": 1.0,
    "PIZZAHOUSE_PATIENCE": 1.0,
    "PIZZAHOUSE_PAYMENT": "simulated",
}
ORDERED, OTHER = "pmghr", "pfngh"  # what the guests want, and what else there is


def explore(
    scenario: type[Saga],
    *,
    pizzas: int = 2,
    stock: int | None = None,
    bounds: Bounds | None = None,
    most: int = 10_000_000,
    first_only: bool = False,
) -> Explored:
    """Explore a scenario whose guests order so many pizzas of one kind.

    stock: how many the kitchen can bake of each kind, by default just these. bounds: how often what may
    go wrong does. most: so many worlds at the most. first_only: no further than to the first finding.
    """
    stock = pizzas if stock is None else stock
    with quiet_house(stock) as machine:
        search = Search(machine, scenario, stock)
        return search.run(start(scenario, pizzas), bounds or Bounds(), most, first_only=first_only)


def start(scenario: type[Saga], pizzas: int) -> Message:
    """The command that starts a scenario, with as much of the order as it takes."""
    contract: Any = scenario.start_contract()
    known = {"table": "TBL1", "wish": (Wish(pizzas, ORDERED, "xl"),)}
    command: Message = contract(**{name: known[name] for name in contract.__struct_fields__ if name in known})
    return command


@contextmanager
def quiet_house(stock: int) -> Iterator[Machine]:
    """A house in memory, with a short menu, that logs nothing of what goes wrong on purpose."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with in_memory() as memory, override_settings(**SETTINGS):
            apps.get_model("menu", "MenuPrice")._default_manager.exclude(item__in=(ORDERED, OTHER)).delete()
            apps.get_model("kitchen", "Stock")._default_manager.update(left=stock)
            yield Machine(memory, _modules())
    finally:
        logging.disable(disabled)


def _modules() -> tuple[str, ...]:
    """The apps that handle messages and have rows."""
    addressed = {name.partition(".")[0] for name in handlers()}
    return tuple(app.label for app in apps.get_app_configs() if app.label in addressed and app.models)
