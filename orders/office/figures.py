"""Processes, for Prometheus: those that run by state, from the database; those that began and ended as they
do, in the process that sees it. Those that ended are never counted in the database: they may be millions."""

from collections import Counter as Tally
from collections.abc import Iterator
from functools import cache

from django.db import connection
from prometheus_client import Counter
from prometheus_client.core import GaugeMetricFamily

from orders.saga import OVERDUE, Saga, scenarios
from orders.steps import NEW
from pizzahouse.messaging import figures, metrics
from pizzahouse.messaging.inbox import Outcome

started = Counter("sagas_started", "Processes that began.", ["scenario"])
ended = Counter("sagas_ended", "Processes that ended, by what they came to.", ["scenario", "outcome"])


def show() -> None:
    """Have sagas counted and shown from now on. Those that never ended so are shown as 0."""
    figures.source(running)
    metrics.listeners.append(count)
    for scenario in scenarios():
        started.labels(scenario.label())
        for outcome in set(scenario.outcomes.values()):
            ended.labels(scenario.label(), outcome)


def count(handler: str, outcome: Outcome) -> None:
    """Count a saga that this message has begun or ended."""
    if outcome.to_state == outcome.from_state:
        return
    scenario = _addresses().get(handler.rpartition(".")[0])
    if scenario is None:
        return
    if outcome.from_state == NEW:
        started.labels(scenario.label()).inc()
    if outcome.to_state in scenario.outcomes:
        ended.labels(scenario.label(), scenario.outcomes[outcome.to_state]).inc()


@cache
def _addresses() -> dict[str, type[Saga]]:
    return {scenario.address(): scenario for scenario in scenarios()}


def running() -> Iterator[GaugeMetricFamily]:
    """Each state of each scenario that is no end, with how many are in it: a statement for each scenario,
    which reads the index of those that run."""
    states = GaugeMetricFamily("sagas_running", "Processes that run, by state.", labels=["scenario", "state"])
    overdue = GaugeMetricFamily(
        "sagas_overdue",
        "Processes that run, got no answer in time, and have asked again.",
        labels=["scenario"],
    )
    for scenario in scenarios():
        found, late = _running(scenario)
        for state, number in found.items():
            states.add_metric([scenario.label(), state], number)
        overdue.add_metric([scenario.label()], late)
    yield states
    yield overdue


def _running(scenario: type[Saga]) -> tuple[Tally[str], int]:
    """By state, how many of a scenario run, and how many of them are overdue. A state that the scenario has
    no more counts as "unknown"."""
    found = Tally(dict.fromkeys([*_states(scenario), metrics.UNKNOWN], 0))
    late = 0
    with connection.cursor() as cursor:
        cursor.execute(
            f'SELECT state, standing, count(*) FROM "{scenario._meta.db_table}"'  # noqa: S608  (its own name)
            " WHERE finished_at IS NULL GROUP BY state, standing"
        )
        for state, standing, number in cursor.fetchall():
            found[state if state in found else metrics.UNKNOWN] += number
            late += number * (standing == OVERDUE)
    return found, late


def _states(scenario: type[Saga]) -> list[str]:
    """Where a process of this scenario can be while it runs, in the order of the story."""
    targets = [state for step in scenario.steps().values() for state in step.targets]
    return [state for state in dict.fromkeys(targets) if state not in scenario.outcomes]
