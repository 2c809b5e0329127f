"""What a mending of many is about, in words: the filter or the selection, as it was then."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from orders.office.listing import ATTENTION
from orders.office.models import Mended
from pizzahouse.messaging.models import InboxMessage

NAMES = {
    "attention": "which need attention:",
    "started_at_from_0": "started from",
    "started_at_from_1": "at",
    "started_at_to_0": "started until",
    "started_at_to_1": "at",
    "finished_at__isnull": "which run:",
}


def of_filter(filters: Mapping[str, Any], query: str) -> str:
    """The filters of the list, and what was searched for."""
    told = [f"{_name(key)} {_value(key, value)}" for key, value in filters.items() if _value(key, value)]
    if query:
        told.append(f"found by “{query}”")
    return "all processes: " + ", ".join(told)


def of_selection(tables: Sequence[str]) -> str:
    """What was ticked in the list."""
    named = ", ".join(tables[:5]) + (f" and {len(tables) - 5} more" if len(tables) > 5 else "")
    return f"selected by hand: {named}"


def processes(rows: Iterable[tuple[UUID, str]]) -> Iterator[Mended]:
    """These processes (id, table) as items of a mending."""
    return (Mended(process_id=process_id, table=table) for process_id, table in rows)


def letters(rows: Iterable[InboxMessage]) -> Iterator[Mended]:
    """These dead messages as items of a mending."""
    return (Mended(process_id=row.saga_id, letter_id=row.pk) for row in rows)


def _name(key: str) -> str:
    return NAMES.get(key, f"{key.partition('__')[0].replace('_', ' ')}:")


def _value(key: str, value: Any) -> str:
    text = value[-1] if isinstance(value, list) and value else str(value)
    return ATTENTION.get(text, text) if key == "attention" else str(text).replace("_", " ")
