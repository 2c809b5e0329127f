"""Payloads without anybody's data: each text, id and time is replaced by one that is made up.

The same value is replaced by the same everywhere, and what is made up fits its contract's constraints just
as far as the original does. Numbers stay, since they drive what a process does.
"""

import re
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from msgspec import inspect

from orders.office.disguise import LONGEST, candidates
from orders.office.leaves import replaced
from pizzahouse.messaging.errors import InvalidMessage, MessagingError, UnknownMessage
from pizzahouse.messaging.messages import decode

FEW = 100  # values that fit: then each is as good as a word of the contract
FIRST_DAY = datetime(2000, 1, 1, tzinfo=UTC)
PLAIN: dict[type[inspect.Type], Any] = {
    inspect.DateTimeType: datetime,
    inspect.DateType: date,
    inspect.TimeType: time,
    inspect.UUIDType: UUID,
    inspect.BytesType: bytes,
    inspect.IntType: int,
    inspect.FloatType: float,
    inspect.DecimalType: Decimal,
    inspect.TimeDeltaType: timedelta,
}
Moment = datetime | date | time
Number = int | float | Decimal | timedelta  # in JSON some are written as texts


class Unredactable(MessagingError):
    """Nothing could be made up in the place of a message's values: its contract asks for more than types,
    lengths and patterns, or it has too many of one kind. Write the test by hand."""


class Redaction:
    """What stands for each value. First show it all payloads (`see`), then have them replaced (`redact`)."""

    def __init__(self) -> None:
        self._numbers: dict[UUID, int] = {}
        self._texts: dict[str, tuple[str, list[inspect.Type]]] = {}  # its first field, and all its types
        self._times: dict[type, set[Moment]] = {}
        self._ranks: dict[Moment, int] = {}
        self._made_up: dict[str, str] = {}

    def number(self, key: UUID) -> int:
        """The number that stands for an id. Where an id is needed, that with this number stands for it."""
        return self._numbers.setdefault(key, len(self._numbers) + 1)

    def see(self, name: str, payload: object) -> None:
        """Note what is to be replaced in the payload of a message of this wire name."""
        replaced(name, payload, self._note)

    def redact(self, name: str, payload: object) -> Any:
        """The payload with everything replaced that was noted. Raises Unredactable."""
        redacted = replaced(name, payload, self._replace)
        if _is_valid(name, payload) and not _is_valid(name, redacted):
            raise Unredactable(name)
        return redacted

    def _note(self, kind: inspect.Type, text: str, field: str) -> str:
        value = _read(kind, text)
        if isinstance(value, UUID):
            self.number(value)
        elif isinstance(value, Moment):
            self._times.setdefault(type(value), set()).add(value)
        elif not isinstance(value, Number):
            _field, kinds = self._texts.setdefault(text, (field, []))
            if kind not in kinds:
                kinds.append(kind)
        return text

    def _replace(self, kind: inspect.Type, text: str, field: str) -> str:
        value = _read(kind, text)
        if isinstance(value, UUID):
            return str(UUID(int=self.number(value)))
        if isinstance(value, Moment):
            return self._time(value)
        if isinstance(value, Number):
            return text
        if text not in self._made_up:
            self._made_up[text] = self._make_up(text)
        return self._made_up[text]

    def _make_up(self, text: str) -> str:
        field, kinds = self._texts[text]
        taken = {*self._texts, *self._made_up.values()}

        def agrees(other: str) -> bool:
            return all(fits(kind, other) == fits(kind, text) for kind in kinds)

        fitting: set[str] = set()
        for each in candidates(text, field, agrees):
            if each not in taken:
                return each
            fitting.add(each)
        if len(fitting) > FEW or len(text) > LONGEST:
            raise Unredactable(field)
        return text

    def _time(self, value: Moment) -> str:
        """Another time; those of one kind keep their order."""
        rank = self._rank(value)
        if isinstance(value, time):
            return (FIRST_DAY + timedelta(seconds=rank)).time().replace(tzinfo=value.tzinfo).isoformat()
        day = FIRST_DAY + timedelta(days=rank)
        if isinstance(value, datetime):
            return day.replace(tzinfo=value.tzinfo and UTC).isoformat()
        return day.date().isoformat()

    def _rank(self, value: Moment) -> int:
        if value not in self._ranks:
            alike = sorted(self._times[type(value)], key=_order)
            self._ranks.update((each, rank) for rank, each in enumerate(alike))
        return self._ranks[value]


def _order(value: Moment) -> Any:
    return value.timestamp() if isinstance(value, datetime) else value.isoformat()


def fits(kind: inspect.Type, text: str) -> bool:
    """Whether a text is of a type, and within its constraints."""
    if isinstance(kind, inspect.StrType):
        long_enough = (kind.min_length or 0) <= len(text)
        short_enough = kind.max_length is None or len(text) <= kind.max_length
        return long_enough and short_enough and (not kind.pattern or bool(re.search(kind.pattern, text)))
    return type(kind) not in PLAIN or _read(kind, text) is not None


def _read(kind: inspect.Type, text: str) -> Any:
    """The id, the time or the bytes that are written so; None where it is something else."""
    with suppress(KeyError, msgspec.ValidationError):
        return msgspec.convert(text, PLAIN[type(kind)], strict=False)
    return None


def _is_valid(name: str, payload: object) -> bool:
    with suppress(InvalidMessage, UnknownMessage):
        decode(name, payload)
        return True
    return False
