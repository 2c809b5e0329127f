"""The inbox: each message is claimed once per handler, in the transaction of its effects.

Pattern: *Idempotent Receiver* (Hohpe and Woolf). What a handler did, or how it failed, stays as a row.
"""

import random
import traceback
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Any

import msgspec
from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Model
from django.db.models.functions import Now
from django.utils import timezone
from psycopg.pq import TransactionStatus

from pizzahouse.messaging import outbox, relay, rows
from pizzahouse.messaging.envelope import Envelope
from pizzahouse.messaging.errors import AlreadyHandled
from pizzahouse.messaging.models import InboxMessage
from pizzahouse.messaging.outbox import Work

Status = InboxMessage.Status
LONGEST_PAUSE = 900.0  # seconds between two attempts


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a message: nothing more, or a saga's step, or why it was ignored."""

    status: str = Status.DONE
    step: str = ""
    from_state: str = ""
    to_state: str = ""
    detail: str = ""
    row: Model | None = None  # changed, and saved together with the claim


def complete(handler: str, outcome: Outcome, work: Work) -> None:
    """Claim the message, save the outcome's row and write what the handler put: all of it or, where the
    message was handled before, nothing. Ends the handler's transaction; raises AlreadyHandled, to roll
    it back."""
    envelope = work.envelope
    if connection.vendor == "postgresql":
        claimed = _complete_in_one_statement(handler, outcome, work)
    else:
        claimed = _complete_step_by_step(handler, outcome, work)
    if not claimed:
        raise AlreadyHandled(f"{envelope.type} {envelope.message_id} at {handler}")
    outbox.after_commit(work.letters)


def _complete_step_by_step(handler: str, outcome: Outcome, work: Work) -> bool:
    envelope = work.envelope
    claim = {
        "type": envelope.type,
        "saga_id": envelope.saga,
        "status": outcome.status,
        "step": outcome.step,
        "from_state": outcome.from_state,
        "to_state": outcome.to_state,
        "detail": outcome.detail,
    }
    row, created = InboxMessage.objects.get_or_create(
        message_id=envelope.message_id, handler=handler, defaults=claim
    )
    if not created and not InboxMessage.objects.filter(pk=row.pk, status=Status.FAILED).update(
        **claim, attempts=F("attempts") + 1, handled_at=Now(), next_attempt_at=None
    ):
        return False
    if outcome.row is not None:
        outcome.row.save()
    for new in work.rows:
        new.save(force_insert=True)
    outbox.insert(work.letters)
    return True


def _complete_in_one_statement(handler: str, outcome: Outcome, work: Work) -> bool:
    """One round trip instead of several. A handler that asked nothing of the database so far has not even
    begun its transaction (psycopg begins with the first statement): this statement then is all of it,
    and commits by itself."""
    sql, values = _statement(handler, outcome, work)
    with connection.cursor() as cursor:
        raw = connection.connection
        alone = raw.info.transaction_status == TransactionStatus.IDLE
        if alone:
            raw.autocommit = True
        try:
            cursor.execute(sql, values)
            return bool(cursor.fetchone()[0])
        finally:
            if alone and not raw.closed:
                raw.autocommit = False


def _statement(handler: str, outcome: Outcome, work: Work) -> tuple[str, list[Any]]:
    envelope = work.envelope
    parts = [_CLAIM]
    values: list[Any] = [
        *(envelope.message_id, handler, envelope.type, envelope.saga, outcome.status),
        *(outcome.step, outcome.from_state, outcome.to_state, outcome.detail),
    ]
    alike = groupby(work.rows, lambda row: (type(row), rows.given(row)))
    for number, ((model, fields), new) in enumerate(alike):
        statement, new_rows = rows.insert_if(model, fields, new, "claim")
        parts.append(f", rows{number} AS ({statement})")
        values.append(new_rows)
    if outcome.row is not None:
        statement, row_values = rows.update_if(outcome.row, "claim")
        parts.append(f", saved AS ({statement})")
        values += row_values
    if work.letters:
        parts.append(f", letters AS ({_LETTERS})")
        values.append(outbox.as_json(work.letters))
    parts.append(" SELECT count(*) FROM claim")
    return "".join(parts), values


_CLAIM = (
    f"WITH claim AS (INSERT INTO {InboxMessage._meta.db_table} AS inbox (message_id, handler, type, saga_id,"
    " status, step, from_state, to_state, detail, handled_at)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, statement_timestamp())"
    " ON CONFLICT (message_id, handler) DO UPDATE SET status = excluded.status, step = excluded.step,"
    " from_state = excluded.from_state, to_state = excluded.to_state, detail = excluded.detail,"
    " handled_at = excluded.handled_at, attempts = inbox.attempts + 1, next_attempt_at = NULL"
    " WHERE inbox.status = 'failed' RETURNING 1 AS claimed)"
)
_LETTERS = outbox.insertion("claim")


# --- When it goes wrong ---------------------------------------------------------------------------


def record_repeat(envelope: Envelope, handler: str) -> None:
    """A message that had been handled was delivered again: count it."""
    InboxMessage.objects.filter(message_id=envelope.message_id, handler=handler).update(
        repeats=F("repeats") + 1
    )


def record_failure(
    envelope: Envelope, handler: str, error: Exception, arguments: Any, *, hopeless: bool = False
) -> InboxMessage:
    """Record a failed attempt, and when the next one is due; after the last, or where trying again is
    hopeless, the message is dead. A message that was handled meanwhile stays handled."""
    with transaction.atomic():
        InboxMessage.objects.get_or_create(
            message_id=envelope.message_id,
            handler=handler,
            defaults={
                "type": envelope.type,
                "saga_id": envelope.saga,
                "status": Status.FAILED,
                "attempts": 0,
            },
        )
        row = InboxMessage.objects.select_for_update().get(message_id=envelope.message_id, handler=handler)
        if row.status != Status.FAILED:
            return row
        row.attempts += 1
        row.handled_at = timezone.now()
        row.error = _in_words(error)
        row.traceback = _keepable("".join(traceback.format_exception(error)))
        row.message = _keepable_json(arguments)
        pause = _pause(row.attempts)
        if hopeless or row.attempts >= _setting("MAX_ATTEMPTS"):
            row.status, row.next_attempt_at = Status.DEAD, None
        row.failures = [*(row.failures or []), _failure(row, pause)]
        row.save()
        if row.status == Status.FAILED:
            InboxMessage.objects.filter(pk=row.pk).update(next_attempt_at=Now() + timedelta(seconds=pause))
            relay.wake_in(pause)
    return row


def _in_words(error: Exception) -> str:
    try:
        words = str(error)
    except Exception:  # noqa: BLE001  (a failing text must not hide the failure)
        words = "(it cannot be told)"
    return _keepable(f"{type(error).__name__}: {words}")


def _keepable(text: str) -> str:
    """PostgreSQL keeps neither NUL characters nor halves of surrogate pairs."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


def _keepable_json(arguments: Any) -> Any:
    """The same for what arrived; where it has to be changed, it is kept as a text."""
    try:
        encoded = msgspec.json.encode(arguments)
    except ValueError:
        encoded = b"\\u0000"
    return {"body": _keepable(repr(arguments))} if b"\\u0000" in encoded else arguments


def _pause(attempts: int) -> float:
    """Seconds until the next attempt: exponential, with jitter so that what failed together does not come
    back together (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015)."""
    longest = _setting("RETRY_SECONDS") * 2.0 ** min(attempts - 1, 30)
    return min(longest, LONGEST_PAUSE) * random.uniform(0.75, 1.0)  # noqa: S311


def _setting(name: str) -> float:
    value: Any = settings.MESSAGING[name]
    return float(value)


def _failure(row: InboxMessage, pause: float) -> dict[str, Any]:
    return {
        "at": row.handled_at.isoformat(),
        "attempt": row.attempts,
        "error": row.error,
        "next_attempt_in": None if row.status == Status.DEAD else round(pause, 3),
    }
