"""The outbox: messages are written in the transaction that causes them, and sent after its commit.

Pattern: *Transactional Outbox* (Richardson, *Microservices Patterns*, ch. 3).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import partial
from typing import Any
from uuid import UUID

import dramatiq
import msgspec
from django.db import connection, transaction
from django.db.models import F, Model
from django.db.models.expressions import CombinedExpression, DatabaseDefault
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from pizzahouse.messaging import relay, rows, tracing
from pizzahouse.messaging.envelope import Envelope, Letter
from pizzahouse.messaging.errors import OutsideTransaction, UnknownDestination
from pizzahouse.messaging.messages import Command, Message, encode, owner
from pizzahouse.messaging.models import OutboxMessage


@dataclass(slots=True)
class Work:
    """What a running handler was asked, and what its last statement is to write."""

    envelope: Envelope
    depth: int  # the savepoints that were open when it began
    letters: list[Letter] = field(default_factory=list)
    rows: list[Model] = field(default_factory=list)  # to be inserted
    sums: list[tuple[type[Model], dict[str, Any], dict[str, int]]] = field(
        default_factory=list
    )  # to be added
    taken_back: list[UUID] = field(default_factory=list)  # messages to be deleted, where they still wait


_work: ContextVar[Work | None] = ContextVar("work", default=None)


def put(
    message: Message,
    *,
    to: str = "",
    reply_to: str = "",
    saga: UUID | None = None,
    delay: float = 0.0,
    cause: Envelope | None = None,
) -> UUID:
    """Write a message in the caller's transaction; it is sent after the commit.

    message: a command goes to the module it belongs to, an event to whoever asked.
    to: another address. reply_to: the address its answers go to. saga: the correlation; inside a handler
    the one of the message being handled. delay: in seconds, not to be sent before. cause: the envelope of
    the message that this one answers, where that is not the one being handled (an answer that took
    until now; see `current_envelope`).

    Returns the message's id. Raises OutsideTransaction, InvalidMessage, UnknownDestination; ValueError or
    OverflowError for a delay that is no time.
    """
    if not connection.in_atomic_block:
        raise OutsideTransaction(type(message).__name__)
    work = _work.get()
    letter = _address(message, cause or (work.envelope if work else None), to, reply_to, saga, delay)
    if work is not None and _belongs_to(work):
        work.letters.append(letter)
    else:
        insert([letter])
        after_commit([letter])
    return letter.envelope.message_id


def record(*new: Model) -> None:
    """Insert new rows with the running handler's last statement, which costs no round trip of its own.
    Elsewhere they are saved at once. Their database-made keys are not known afterwards."""
    work = _work.get()
    for row in new:
        if work is not None and _belongs_to(work) and not _computed(row):
            work.rows.append(row)
        else:
            row.save(force_insert=True)


def add(model: type[Model], where: dict[str, Any], **amounts: int) -> None:
    """Add to numbers of the row with these values, with the running handler's last statement; elsewhere
    at once. What the database's constraints refuse raises IntegrityError there (see `handles`); a row
    that does not exist is left so, and one that the same handler changes otherwise is not for this. A
    negative amount is taken away."""
    work = _work.get()
    if work is None or not _belongs_to(work):
        rows.add(model, where, **amounts)
        return
    for same_model, same_row, sums in work.sums:  # a statement changes a row only once
        if (same_model, same_row) == (model, where):
            sums |= {name: sums.get(name, 0) + amount for name, amount in amounts.items()}
            return
    work.sums.append((model, where, amounts))


def take_back(message_id: UUID) -> bool:
    """Delete a message that was put with a delay, if no relay has taken it yet; tells whether that was in
    time. One that was not may still be handled."""
    waiting = OutboxMessage.objects.filter(id=message_id, sent_at=None, available_at=F("due_at"))
    return bool(waiting.delete()[0])


def forget(message_id: UUID) -> None:
    """The same, with the running handler's last statement, for those who do not ask whether it was in
    time: they know a late one when it comes. Not for what the same handler has put."""
    work = _work.get()
    if work is not None and _belongs_to(work):
        work.taken_back.append(message_id)
    else:
        take_back(message_id)


def _computed(row: Model) -> bool:
    """Whether the database is to compute a value of it, such as `Now()`; a default is left to it anyway."""
    values = row.__dict__.values()
    return any(hasattr(v, "resolve_expression") and not isinstance(v, DatabaseDefault) for v in values)


def _belongs_to(work: Work) -> bool:
    """Inside a savepoint of the handler's own nothing can wait for its last statement: it may be undone."""
    return work.depth == len(connection.savepoint_ids)


def _address(
    message: Message,
    cause: Envelope | None,
    to: str,
    reply_to: str,
    saga: UUID | None,
    delay: float,
) -> Letter:
    contract = type(message)
    if not to:
        to = owner(contract) if isinstance(message, Command) else (cause.reply_to if cause else "")
    _check_destination(to, contract.__name__)
    now, pause = datetime.now(UTC), timedelta(seconds=delay)
    message_id = uuid7()
    saga = saga or (cause.saga if cause else None)
    envelope = Envelope(
        message_id=message_id,
        type=contract.__name__,
        destination=to,
        reply_to=reply_to,
        saga=saga,
        causation=cause.message_id if cause else None,
        trace=cause.trace if cause else _new_trace(contract.__name__, saga, message_id),
        created_at=now,
        due_at=now + pause if delay > 0 else None,
    )
    return Letter(envelope, encode(message), max(delay, 0.0))


def _new_trace(name: str, saga: UUID | None, message_id: UUID) -> str:
    """A W3C traceparent: the saga is the trace, its first message the root span."""
    trace = f"00-{(saga or message_id).hex}-{message_id.hex[16:]}-01"
    return tracing.root(trace, name, saga)


def _check_destination(to: str, name: str) -> None:
    actors = dramatiq.get_broker().actors
    if f"{to}.{name}" not in actors:
        near = get_close_matches(f"{to}.{name}", actors, n=1)
        hint = f"; did you mean {near[0].removesuffix(f'.{name}')!r}?" if near else ""
        raise UnknownDestination(f"{name} to {to!r}{hint}")


def current_envelope() -> Envelope | None:
    """The envelope of the message that is being handled here, if one is."""
    work = _work.get()
    return work.envelope if work else None


@contextmanager
def collecting(envelope: Envelope) -> Iterator[Work]:
    """Gather what is put while a message is handled, so that one statement can write it all."""
    work = Work(envelope, len(connection.savepoint_ids))
    token = _work.set(work)
    try:
        yield work
    finally:
        _work.reset(token)


def insert(letters: list[Letter]) -> None:
    """Write them in the running transaction."""
    if connection.vendor != "postgresql":
        OutboxMessage.objects.bulk_create(_new_rows(letters))
    elif letters:
        with connection.cursor() as cursor:
            cursor.execute(insertion(), [as_json(letters)])


def after_commit(letters: list[Letter]) -> None:
    """Have the local relay publish them from memory once they are committed: no polling."""
    local = relay.local()
    if local is not None and letters:
        transaction.on_commit(partial(local.hand_over, letters), robust=True)


def available_in(letter: Letter) -> float:
    """Seconds until any relay may take it. With a relay of our own it is born with that one's lease."""
    if letter.delay:
        return letter.delay
    return relay.LEASE_SECONDS if relay.local() else 0.0


def insertion(source: str = "") -> str:
    """The INSERT for PostgreSQL, of any number of letters: they are one value, a JSON array, so that the
    statement is always the same and stays prepared. With a source (a query's name) it needs its row."""
    return (
        f"INSERT INTO {OutboxMessage._meta.db_table} (id, type, destination, reply_to, saga_id, causation_id,"
        " trace, payload, created_at, due_at, available_at, sends)"
        " SELECT id, type, destination, reply_to, saga_id, causation_id, trace, payload,"
        " statement_timestamp(), statement_timestamp() + make_interval(secs => due_in),"
        " statement_timestamp() + make_interval(secs => available_in), 0"
        f" FROM {source + ', ' if source else ''}jsonb_to_recordset(%s::jsonb) AS letter"
        " (id uuid, type text, destination text, reply_to text, saga_id uuid, causation_id uuid,"
        " trace text, payload jsonb, due_in float8, available_in float8)"
    )


def deletion(source: str) -> str:
    """The DELETE of a message that waits, if the source (a query's name) has a row."""
    return (
        f"DELETE FROM {OutboxMessage._meta.db_table} AS outbox USING {source}"
        " WHERE outbox.id = %s AND outbox.sent_at IS NULL AND outbox.available_at = outbox.due_at"
    )


def as_json(letters: list[Letter]) -> str:
    """The value that the INSERT wants."""
    values = [
        {
            "id": letter.envelope.message_id,
            "type": letter.envelope.type,
            "destination": letter.envelope.destination,
            "reply_to": letter.envelope.reply_to,
            "saga_id": letter.envelope.saga,
            "causation_id": letter.envelope.causation,
            "trace": letter.envelope.trace,
            "payload": msgspec.Raw(letter.payload),
            "due_in": letter.delay or None,
            "available_in": available_in(letter),
        }
        for letter in letters
    ]
    return msgspec.json.encode(values).decode()


def _from_now(seconds: float) -> Now | CombinedExpression:
    """SQLite compares times as texts, and a sum has more digits: now is not earlier than "now + 0"."""
    return Now() + timedelta(seconds=seconds) if seconds else Now()


def _new_rows(letters: list[Letter]) -> list[OutboxMessage]:
    return [
        OutboxMessage(
            id=letter.envelope.message_id,
            type=letter.envelope.type,
            destination=letter.envelope.destination,
            reply_to=letter.envelope.reply_to,
            saga_id=letter.envelope.saga,
            causation_id=letter.envelope.causation,
            trace=letter.envelope.trace,
            payload=msgspec.json.decode(letter.payload),
            created_at=Now(),
            due_at=_from_now(letter.delay) if letter.delay else None,
            available_at=_from_now(available_in(letter)),
            sends=0,
        )
        for letter in letters
    ]
