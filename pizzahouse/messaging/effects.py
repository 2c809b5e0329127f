"""What a process has really changed, told by the modules themselves: each in its own effects.py."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from django.db import connection, transaction

log = structlog.get_logger(__name__)
MOST = 20  # of a kind; the rest is counted


@dataclass(frozen=True)
class Effect:
    """Something that is different because of a process."""

    what: str  # its kind, in one word
    text: str  # a sentence for people
    at: datetime | None = None
    url: str = ""  # the page where it can be looked at


Function = Callable[[UUID], Iterable[Effect]]
_functions: dict[str, list[Function]] = defaultdict(list)


def effects(function: Function) -> Function:
    """Make a function tell what a saga, by its id, has changed in the module it is defined in. How much it
    asks the database must not grow with what there is to tell."""
    _functions[function.__module__.partition(".")[0]].append(function)
    return function


def of(saga_id: UUID) -> dict[str, list[Effect]]:
    """All effects of a saga by module, in the order of their names; each module's as it tells them. What a
    module cannot tell is an effect that says so."""
    return {
        module: [effect for function in _functions[module] for effect in _told(function, module, saga_id)]
        for module in sorted(_functions)
    }


def _told(function: Function, module: str, saga_id: UUID) -> list[Effect]:
    try:
        # In a transaction, an error of the database would end whatever is read after it, too.
        with transaction.atomic() if connection.in_atomic_block else nullcontext():
            return list(function(saga_id))
    except Exception as error:
        log.exception("a module could not tell what a process changed", module=module, saga=str(saga_id))
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        return [Effect("error", f"What changed here could not be told: {reason}")]


def shortlist(found: Sequence[Effect], most: int = MOST) -> list[Effect]:
    """The first of them; how many more there are."""
    rest = len(found) - most
    return [*found[:most], Effect(found[most].what, f"and {rest} more")] if rest > 0 else list(found)
