"""`@step`: one line of a scenario's table, as a django-fsm transition of the field `state`."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple

from django.db import models
from django_fsm import transition

from pizzahouse.messaging.messages import Message

NEW = "new"
Compensation = Callable[[Any], None]


def minutes(number: float) -> timedelta:
    """So many minutes, for `within`."""
    return timedelta(minutes=number)


def hours(number: float) -> timedelta:
    """So many hours, for `within`."""
    return timedelta(hours=number)


def step(
    *,
    on: type[Message] | tuple[type[Message], ...],
    source: str | tuple[str, ...],
    target: Any,
    within: timedelta | None = None,
    compensation: Compensation | None = None,
) -> Callable[[Any], Any]:
    """Make a method of a saga the step that this message, or each of these, causes in this state, or in
    each of these. The method gets the message and sends commands. It can carry several such lines.

    target: the next state, or `RETURN_VALUE(...)` where the method decides it. within: how long the next
    state may last before the saga asks again, and then takes the step on `DeadlinePassed`, if the
    state has one. compensation: a method that undoes this step, called by `Saga.compensate`.
    """
    custom = {
        "on": on if isinstance(on, tuple) else (on,),
        "within": within,
        "compensation": compensation.__name__ if compensation else "",
    }
    sources = list(source) if isinstance(source, tuple) else source
    return transition(field="state", source=sources, target=target, custom=custom)


class Step(NamedTuple):
    """One row of a scenario's table."""

    on: type[Message]
    source: str
    targets: tuple[str, ...]
    method: str
    within: timedelta | None = None
    compensation: str = ""


Table = dict[tuple[type[Message], str], Step]


def table_of(scenario: type[models.Model]) -> Table:
    """A scenario's steps, by message and state, in the order of its file. Raises TypeError where there
    are two for one message in one state."""
    table: Table = {}
    for each in _transitions(scenario):
        targets = getattr(each.target, "allowed_states", None) or (each.target,)
        for on in each.custom["on"]:
            if (on, each.source) in table:
                raise TypeError(f"two steps on {on.__name__} in state {each.source}")
            rest = (each.custom["within"], each.custom["compensation"])
            table[on, each.source] = Step(on, each.source, tuple(targets), each.name, *rest)
    return table


def _transitions(scenario: type[models.Model]) -> Iterator[Any]:
    """Its transitions in the order of the file: the order of the story."""
    field: Any = scenario._meta.get_field("state")
    found = list(field.get_all_transitions(scenario))
    return iter(sorted(found, key=lambda each: each.method.__code__.co_firstlineno))
