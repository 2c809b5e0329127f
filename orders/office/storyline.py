"""What a scenario's steps say as a graph: its happy path, its other states, and what causes each change."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from django.utils.text import capfirst

from orders.contracts import Cancel, DeadlinePassed, Decide
from orders.office.layout import Edge
from orders.saga import COMPLETED, Saga
from orders.steps import NEW, Step

Arrows = Collection[Edge]
Ways = dict[str, tuple[str, ...]]  # to each state that can be reached, the states on the way there

UNUSUAL = (Cancel, DeadlinePassed, Decide)  # no happy path depends on these


@dataclass(frozen=True)
class Graph:
    """A scenario's states and edges."""

    name: str
    line: tuple[str, ...]  # the happy path
    others: tuple[str, ...]  # all other states
    causes: dict[Edge, tuple[str, ...]]  # for each edge the messages and steps: "PizzaDone: collect_pizza"
    outcomes: dict[str, str]  # its final states, and what each means

    def lost(self, state: str) -> bool:
        """Whether the end of the happy path cannot be reached from there."""
        return self.line[-1] not in _shortest(self.causes, state)

    def ahead(self, present: str, passed: Collection[str]) -> tuple[str, ...]:
        """What remains of the happy path: what follows the present state, or the last that was passed."""
        if present in self.outcomes or self.lost(present):
            return ()
        if present in self.line:
            return self.line[self.line.index(present) + 1 :]
        been = [number for number, state in enumerate(self.line) if state in passed]
        return self.line[max(been, default=-1) + 1 :]


def graph_of(scenario: type[Saga], travelled: Iterable[Edge] = (), present: str = NEW) -> Graph:
    """The graph of this scenario, and of what a process has done that no step of today would do."""
    steps = list(scenario.steps().values())
    causes: dict[Edge, tuple[str, ...]] = {}
    for step in steps:
        for target in step.targets:
            cause = f"{step.on.__name__}: {step.method}"
            causes[step.source, target] = (*causes.get((step.source, target), ()), cause)
    line = _happy_path(steps, scenario)
    for edge in travelled:
        causes.setdefault(edge, ("no step of today",))
    states = (*(state for edge in causes for state in edge), *scenario.outcomes, present)
    others = dict.fromkeys(state for state in states if state not in line)
    name = capfirst(str(scenario._meta.verbose_name))
    return Graph(name, line, tuple(others), causes, scenario.outcomes)


def _happy_path(steps: Sequence[Step], scenario: type[Saga]) -> tuple[str, ...]:
    """The longest story in the order of the file that is completed without a human and a deadline. Where
    there is none: the shortest in any order, or one that ends otherwise, or that does not end."""
    order = dict.fromkeys((NEW, *(step.source for step in steps)))
    order |= dict.fromkeys(target for step in steps for target in step.targets)
    every = [(step.source, target) for step in steps for target in step.targets]
    usual = {(step.source, target) for step in steps if step.on not in UNUSUAL for target in step.targets}
    good = [edge for edge in every if edge in usual and not scenario.for_humans.intersection(edge)]
    completed = [state for state, meaning in scenario.outcomes.items() if meaning == COMPLETED]
    for goals in (completed, list(scenario.outcomes), list(order)):
        for arrows in (good, every):
            for ways in (_longest(order, arrows), _shortest(arrows)):
                if found := [ways[goal] for goal in goals if goal in ways]:
                    return max(found, key=len)
    return (NEW,)


def _longest(order: Collection[str], arrows: Arrows) -> Ways:
    """The longest way to each state from the first, on arrows that lead forward in this order."""
    rank = {state: number for number, state in enumerate(order)}
    ways: Ways = {NEW: (NEW,)}
    for state in order:
        for source, target in arrows:
            forward = source == state and rank[target] > rank[source]
            if forward and state in ways and len(ways[state]) >= len(ways.get(target, ())):
                ways[target] = (*ways[state], target)
    return ways


def _shortest(arrows: Arrows, start: str = NEW) -> Ways:
    """The shortest way to each state from the start."""
    ways: Ways = {start: (start,)}
    for state in (reached := [start]):
        for source, target in arrows:
            if source == state and target not in ways:
                ways[target] = (*ways[state], target)
                reached.append(target)
    return ways
