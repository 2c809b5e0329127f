"""The inbox: each message is claimed once per handler, in the transaction of its effects.

Pattern: *Idempotent Receiver* (Hohpe and Woolf). What a handler did stays as a row; how it failed, see
`failures`.
"""

from dataclasses import dataclass
from itertools import groupby
from typing import Any

from django.db import connection
from django.db.models import F, Model
from django.db.models.functions import Now
from psycopg.pq import TransactionStatus

from pizzahouse.messaging import outbox, rows
from pizzahouse.messaging.errors import AlreadyHandled
from pizzahouse.messaging.models import InboxMessage
from pizzahouse.messaging.outbox import Work

Status = InboxMessage.Status


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
        **claim, attempts=F("attempts") + 1, handled_at=Now(), next_attempt_at=None, started_at=None
    ):
        return False
    if outcome.row is not None:
        outcome.row.save()
    for new in work.rows:
        new.save(force_insert=True)
    for model, where, amounts in work.sums:
        rows.add(model, where, **amounts)
    for message_id in work.taken_back:
        outbox.take_back(message_id)
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
    for number, (model, where, amounts) in enumerate(work.sums):
        statement, sum_values = rows.add_if(model, where, amounts, "claim")
        parts.append(f", sums{number} AS ({statement})")
        values += sum_values
    if outcome.row is not None:
        statement, row_values = rows.update_if(outcome.row, "claim")
        parts.append(f", saved AS ({statement})")
        values += row_values
    for number, message_id in enumerate(work.taken_back):
        parts.append(f", back{number} AS ({_TAKE_BACK})")
        values.append(message_id)
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
    " handled_at = excluded.handled_at, attempts = inbox.attempts + 1, next_attempt_at = NULL,"
    " started_at = NULL"
    " WHERE inbox.status = 'failed' RETURNING 1 AS claimed)"
)
_LETTERS = outbox.insertion("claim")
_TAKE_BACK = outbox.deletion("claim")
