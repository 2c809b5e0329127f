"""Payloads of then and now, side by side: their ids and texts differ, what they say is the same."""

from typing import Any
from uuid import UUID

STANDS_IN = 2**32  # a lower id stands for one that was


def bind(ids: dict[str, str], then: Any, now: Any) -> None:
    """Note which id now is what stood for one then, wherever both have one in the same place. What is
    bound stays so."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in then.keys() & now.keys():
            bind(ids, then[key], now[key])
    elif isinstance(then, list) and isinstance(now, list):
        for each, other in zip(then, now, strict=False):
            bind(ids, each, other)
    elif _is_id(then) and _is_id(now):
        ids.setdefault(then, now)


def put_in(ids: dict[str, str], then: Any) -> Any:
    """The payload with the ids that are now."""
    if isinstance(then, dict):
        return {put_in(ids, key): put_in(ids, value) for key, value in then.items()}
    if isinstance(then, list):
        return [put_in(ids, each) for each in then]
    return ids.get(then, then) if isinstance(then, str) else then


def is_like(then: Any, now: Any) -> bool:
    """Whether both say the same, whatever their texts are (what code makes of a text that was made up is
    another one) and whatever an id is that is not bound yet. Fields that are new now are left out."""
    if isinstance(then, dict) and isinstance(now, dict):
        return then.keys() <= now.keys() and all(is_like(value, now[key]) for key, value in then.items())
    if isinstance(then, list) and isinstance(now, list):
        return len(then) == len(now) and all(map(is_like, then, now))
    if isinstance(then, str) and isinstance(now, str):
        return then == now or not (_is_id(then) and _is_id(now)) or UUID(then).int < STANDS_IN
    return bool(then == now) and isinstance(then, bool) == isinstance(now, bool)


def _is_id(value: Any) -> bool:
    try:
        return isinstance(value, str) and len(value) == 36 and bool(UUID(value))
    except ValueError:
        return False
