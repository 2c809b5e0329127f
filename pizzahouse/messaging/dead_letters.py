"""Dead letters: what waits for a human, grouped by what went wrong, and mended one by one: edited and sent
again, discarded, or skipped.

Each function works in the caller's transaction: rolled back, nothing of it ever was, which makes a preview.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection, transaction
from django.db.models import CharField, Count, Func, Max, Min, QuerySet

from pizzahouse.messaging import outbox, outstanding, relay
from pizzahouse.messaging.envelope import Envelope, unseal
from pizzahouse.messaging.errors import InvalidMessage, NoSuchGroup, NotDead, NotSkippable, Unreadable
from pizzahouse.messaging.messages import Event, Message, decode, kind
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from pizzahouse.messaging.outstanding import Why

Status = InboxMessage.Status
# A word with a digit in it: an id, a number, a time. The mark itself counts as one, so that a text with
# marks is the text of one group only. It is the same in Python and PostgreSQL, whatever the locale, and a
# word fits it in one way only: with two ways Python would try, for ten ids in a line, a million millions.
WORD = "[A-Za-z_-]*[0-9#][0-9A-Za-z_#-]*"
MARK = "#"
LINE = 200  # characters of an error that count


# --- Groups ---------------------------------------------------------------------------------------


class Kind(msgspec.Struct, frozen=True, array_like=True):
    """What the messages of a group have in common."""

    status: str  # dead, or failed
    type: str
    handler: str
    error: str  # its first line, a mark in place of each id and number

    @property
    def key(self) -> str:
        """The same as a text for a URL, to find its rows again."""
        return urlsafe_b64encode(msgspec.json.encode(self)).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class Group:
    """Messages that failed alike."""

    kind: Kind
    count: int
    oldest: datetime  # when the last attempts were
    newest: datetime
    example: InboxMessage  # the one that came last


class _Line(Func):
    """The first line of a text, as far as it is short."""

    template = f"split_part(left(%(expressions)s, {LINE}), E'\\n', 1)"
    output_field = CharField()

    def as_sqlite(self, compiler: Any, connection: Any, **kwargs: Any) -> Any:
        head = f"substr(%(expressions)s, 1, {LINE})"
        end = f"instr({head} || char(10), char(10)) - 1"
        return self.as_sql(compiler, connection, template=f"substr({head}, 1, {end})", **kwargs)


def groups(limit: int = 200, *, failing: bool = False) -> list[Group]:
    """What is dead, the largest groups first, so many at the most; failing: also what failed and is tried
    again, in groups of its own."""
    statuses = (Status.DEAD, Status.FAILED) if failing else (Status.DEAD,)
    found = [tally for status in statuses for tally in _tallies(status, limit)]
    largest = sorted(found, key=lambda tally: (-tally.count, -tally.example))[:limit]
    examples = InboxMessage.objects.in_bulk([tally.example for tally in largest])
    return [
        Group(tally.kind, tally.count, tally.oldest, tally.newest, examples[tally.example])
        for tally in largest
        if tally.example in examples  # it may have been mended at this moment
    ]


def rows_of(key: str) -> QuerySet[InboxMessage]:
    """The rows of a group, by its key, the oldest first. Raises NoSuchGroup."""
    common = _kind(key)
    line = WORD.join(re.escape(part) for part in common.error.split(MARK))
    alike = _lines(common.status).filter(type=common.type, handler=common.handler)
    found: QuerySet[InboxMessage] = alike.filter(line__regex=rf"\A{line}\Z").order_by("id")
    return found


def _kind(key: str) -> Kind:
    try:
        common = msgspec.json.decode(urlsafe_b64decode(key + "=" * (-len(key) % 4)), type=Kind)
    except (ValueError, msgspec.MsgspecError) as error:
        raise NoSuchGroup(key[:50]) from error
    texts = (common.type, common.handler, common.error)
    known = common.status in InboxMessage.TROUBLE and not any("\0" in text for text in texts)
    if not known or common.key != key or _marked(common.error) != common.error:
        raise NoSuchGroup(key[:50])
    return common


def _marked(line: str) -> str:
    return re.sub(WORD, MARK, line[:LINE].partition("\n")[0])


def _lines(status: str) -> Any:
    """The rows of this status, each with the first line of its error."""
    return InboxMessage.objects.in_trouble().filter(status=status).annotate(line=_Line("error"))


@dataclass(frozen=True, slots=True)
class _Tally:
    kind: Kind
    count: int
    oldest: datetime
    newest: datetime
    example: int


def _tallies(status: str, limit: int) -> list[_Tally]:
    """Same lines are counted first: a regular expression for each of 100,000 rows takes 0.3 s, and most
    failures of an hour say the same."""
    alike = _lines(status).order_by().values("type", "handler", "line")
    counted = alike.annotate(n=Count("id"), a=Min("handled_at"), b=Max("handled_at"), last=Max("id"))
    columns = counted.values_list("type", "handler", "line", "n", "a", "b", "last")
    if connection.vendor != "postgresql":
        return list(_merged(status, columns))
    sql, values = columns.query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(_MERGE.format(sql), [*values, limit])
        found = cursor.fetchall()
    return [_Tally(Kind(status, *row[:3]), int(row[3]), *row[4:]) for row in found]


_MERGE = (
    f"SELECT type, handler, regexp_replace(line, '{WORD}', '{MARK}', 'g') AS kind, sum(n), min(a), max(b),"
    " max(last) FROM ({}) AS lines (type, handler, line, n, a, b, last) GROUP BY type, handler, kind"
    " ORDER BY sum(n) DESC, max(last) DESC LIMIT %s"
)


def _merged(status: str, lines: Iterator[Any]) -> Iterator[_Tally]:
    """The same without PostgreSQL."""
    alike: dict[Kind, list[Any]] = {}
    for name, handler, line, *figures in lines:
        alike.setdefault(Kind(status, name, handler, _marked(line)), []).append(figures)
    for common, figures in alike.items():
        counts, oldest, newest, last = zip(*figures, strict=True)
        yield _Tally(common, sum(counts), min(oldest), max(newest), max(last))


# --- Mending --------------------------------------------------------------------------------------


@transaction.atomic
def replace(row: InboxMessage, payload: object, *, by: str, why: str) -> UUID:
    """Send a dead message again with another payload (JSON values): as a new message, which the dead one
    caused. The dead one is settled as ignored, and keeps what is known of it. Returns the new one's id.
    Raises NotDead, Unreadable, UnknownMessage, InvalidMessage, UnknownDestination."""
    envelope = _envelope(_locked(row))
    message = checked(envelope.type, payload)
    new = outbox.put(message, to=envelope.destination, reply_to=envelope.reply_to, cause=envelope)
    outstanding.settle(row, f"replaced by {new} by {by}: {why}")
    return new


@transaction.atomic
def discard(row: InboxMessage, *, by: str, why: str) -> None:
    """Settle a dead message as ignored, whether it can be read or not: it is never handled. Raises
    NotDead."""
    outstanding.settle(_locked(row), f"discarded by {by}: {why}")


@transaction.atomic
def skip(message_id: UUID, event: Event, *, by: str, why: str) -> UUID:
    """Settle a command that a saga waits for as ignored, and put an event that stands in for its answer.
    Where it is being handled at this moment, that is waited for. Returns the event's id. Raises
    NotSkippable, InvalidMessage, UnknownDestination."""
    command = outstanding.rows().filter(id=message_id).first()
    if command is None:
        raise NotSkippable("it was handled, or there is no message of this id")
    found = outstanding.where(command)
    _check_skippable(command, found.why)
    answer = outbox.put(event, to=command.reply_to, cause=relay.letter_of(command).envelope)
    # It names the answer, so that nobody else's words are the same: who claimed it is certain.
    detail = f"skipped by {by}: {why}; {type(event).__name__} {answer} stands in for its answer"
    if not outstanding.claim_as_ignored([found], detail):
        raise NotSkippable("it was handled at this moment, or somebody else has skipped it")
    return answer


def _check_skippable(command: OutboxMessage, where: Why) -> None:
    if kind(command.type) != "command":
        raise NotSkippable(f"{command.type} is an event, or no longer installed; only a command is answered")
    if command.saga_id is None or not command.reply_to:
        raise NotSkippable(f"nobody waits for what {command.type} is answered")
    if where == Why.SCHEDULED:
        raise NotSkippable(f"{command.type} is not due yet")


def _locked(row: InboxMessage) -> InboxMessage:
    """The row as it is now, locked until the end of the transaction: whoever sends it again waits."""
    now = InboxMessage.objects.select_for_update().filter(pk=row.pk).first()
    if now is None:
        raise NotDead(f"{row.type} was deleted")
    if now.status != Status.DEAD:
        raise NotDead(f"{row.type} is {now.get_status_display()}")
    return now


def _envelope(row: InboxMessage) -> Envelope:
    try:
        return unseal(row.message if isinstance(row.message, dict) else {})[0]
    except InvalidMessage as error:
        raise Unreadable(row.handler) from error


def checked(name: str, payload: object) -> Message:
    """The message of this wire name that somebody has typed, from its JSON values: a field that the contract
    does not know is mistyped, and not passed over. Raises UnknownMessage, InvalidMessage."""
    message = decode(name, payload)
    for where, field, known in _unknown(message, payload):
        raise InvalidMessage(f"{name}{where} has no field {field}; it has {', '.join(known) or 'none'}")
    return message


def _unknown(value: object, given: Any, where: str = "") -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """The fields that were given and not read: in which part of the message, their names, and those that
    it has."""
    if isinstance(value, msgspec.Struct) and isinstance(given, dict):
        names = dict(zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True))
        for key in given:
            if key in names:
                yield from _unknown(getattr(value, names[key]), given[key], f"{where}.{key}")
            elif key != value.__struct_config__.tag_field:
                yield where, key, tuple(names)
    elif isinstance(value, dict) and isinstance(given, dict):
        for item, (key, other) in zip(value.values(), given.items(), strict=False):
            yield from _unknown(item, other, f"{where}.{key}")
    elif isinstance(value, list | tuple) and isinstance(given, list):
        for number, (item, other) in enumerate(zip(value, given, strict=False)):
            yield from _unknown(item, other, f"{where}[{number}]")
