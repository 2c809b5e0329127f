"""Walking a way again: what `explore_saga --write-test` writes into a test."""

from collections.abc import Sequence

from orders.explorer.explore import quiet_house, start
from orders.explorer.machine import Machine
from orders.explorer.search import Known, Search
from orders.explorer.worlds import Bounds, Move
from orders.saga import Saga, scenarios

Written = tuple[str, str, int, int]
NO_BOUNDS = Bounds(*[1_000] * len(Bounds._fields))


class Walk(Search):
    """A search that leaves its way nowhere. Where the way ends early, what it led to cannot happen."""

    def __init__(self, machine: Machine, scenario: type[Saga], stock: int, way: Sequence[Written]) -> None:
        super().__init__(machine, scenario, stock)
        self.way = way
        self.steps: dict[Known, int] = {}

    def _reach(self, known: Known, way: tuple[Known, Move] | None) -> None:
        step = 0
        if way is not None:
            before, move = way
            step = self.steps[before] + 1
            placed = move._replace(place=self.place(before, move))
            if step > len(self.way) or placed.written != tuple(self.way[step - 1]):
                return
        self.steps.setdefault(known, step)
        super()._reach(known, way)


def replay(scenario: str, way: Sequence[Written], *, pizzas: int, stock: int) -> list[str]:
    """What is wrong along this way, and one move beside it; nothing if all is well, or if the way cannot
    be walked any more. Raises KeyError where there is no such scenario."""
    chosen = {each.label(): each for each in scenarios()}[scenario]
    with quiet_house(stock) as machine:
        explored = Walk(machine, chosen, stock, way).run(start(chosen, pizzas), NO_BOUNDS)
    return [f"{each.what}: {each.detail}" for each in explored.findings]
