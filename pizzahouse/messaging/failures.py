"""Failures: a message that could not be handled is a row, with the time of its next attempt; after the last
attempt it is dead, which is a row too, for a human to look at.

Patterns: *Dead Letter Channel* and *Invalid Message Channel* (Hohpe and Woolf), as states of a row.
"""

import random
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import msgspec
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from pizzahouse.messaging import metrics, relay
from pizzahouse.messaging.envelope import Envelope
from pizzahouse.messaging.errors import AlreadyHandled, WorkerDied
from pizzahouse.messaging.models import InboxMessage, OutboxMessage

Status = InboxMessage.Status
LONGEST_PAUSE = 900.0  # seconds between two attempts
MOST_DEATHS = 3  # workers that a message may take with it, once it is suspected


_alone = threading.RLock()  # SQLite's: it is one process, and has one transaction at a time anyway


@contextmanager
def held(envelope: Envelope, *, wait: bool) -> Iterator[bool]:
    """Hold a message for as long as its worker lives; who wants to hold it meanwhile waits, or is told that
    it cannot. It is a lock of the database's session: it lasts over several transactions, locks no row, so
    that a saga which sends the message again or takes it back waits for nobody, and ends with the process."""
    if connection.vendor != "postgresql":
        with _alone:
            yield True
        return
    key = int.from_bytes(envelope.message_id.bytes[8:], signed=True)
    taking = "SELECT pg_advisory_lock(%s) IS NOT NULL" if wait else "SELECT pg_try_advisory_lock(%s)"
    with connection.cursor() as cursor:
        cursor.execute(taking, [key])
        taken: bool = cursor.fetchone()[0]
    session = connection.connection
    try:
        yield taken
    finally:
        if taken and connection.connection is session and not session.closed:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [key])


def begin(envelope: Envelope, handler: str, arguments: Any) -> InboxMessage | None:
    """Note that a worker begins with a message that was delivered or sent before. Whatever kills its worker
    (`os._exit`, the kernel out of memory) leaves no other trace, and would be delivered for ever.

    Returns None; or its row, where it must not be handled now: it was begun so before, and that never
    ended. It is recorded as a failed attempt, and comes back after a pause, apart from those it was
    delivered with.
    Raises AlreadyHandled, also for what was handled so long ago that its rows were pruned.
    """
    with transaction.atomic():
        row = lock(envelope, handler)
        handled = row.status != Status.FAILED
        if not handled and row.attempts == 0 and not _is_kept(envelope):
            detail = "it was handled before, and its rows have been pruned since"
            InboxMessage.objects.filter(pk=row.pk).update(status=Status.IGNORED, detail=detail)
            handled = True
        if not handled and row.started_at is None:
            InboxMessage.objects.filter(pk=row.pk).update(
                started_at=Now(),
                message=_keepable_json(arguments),
                next_attempt_at=Now() + timedelta(seconds=relay.RETRY_LEASE_SECONDS),
            )
            return None
    if handled:
        raise AlreadyHandled(f"{envelope.type} {envelope.message_id} at {handler}")
    metrics.deaths.inc()
    died = WorkerDied(f"begun at {row.started_at:%Y-%m-%d %H:%M:%S}")
    return record_failure(envelope, handler, died, arguments)


def leave(envelope: Envelope, handler: str) -> bool:
    """Note that its worker is not at it any more, and did not die of it. Tells whether that is on record."""
    try:
        InboxMessage.objects.filter(message_id=envelope.message_id, handler=handler).update(started_at=None)
    except DatabaseError:
        return False
    return True


def lock(envelope: Envelope, handler: str) -> InboxMessage:
    """The row of a message at a handler, new where it has none; locked until the transaction ends, so
    that whoever wants it meanwhile waits."""
    new = {"type": envelope.type, "saga_id": envelope.saga, "status": Status.FAILED, "attempts": 0}
    own = {"message_id": envelope.message_id, "handler": handler}
    row = None
    while row is None:  # where it is there, it may be pruned at this moment
        InboxMessage.objects.get_or_create(**own, defaults=new)
        row = InboxMessage.objects.select_for_update().filter(**own).first()
    return row


def _is_kept(envelope: Envelope) -> bool:
    """Rows are pruned together: a message without its row in the outbox was handled."""
    return OutboxMessage.objects.filter(id=envelope.message_id).exists()


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
        row = lock(envelope, handler)
        if row.status != Status.FAILED:
            return row
        row.attempts += 1
        row.handled_at = timezone.now()
        row.started_at = None
        row.error = _in_words(error)
        row.traceback = _keepable("".join(traceback.format_exception(error)))
        row.message = _keepable_json(arguments)
        pause = _pause(row.attempts)
        if hopeless or row.attempts >= _setting("MAX_ATTEMPTS") or _deaths(row) >= MOST_DEATHS:
            row.status, row.next_attempt_at = Status.DEAD, None
        row.failures = [*(row.failures or []), _failure(row, pause)]
        row.save()
        if row.status == Status.FAILED:
            InboxMessage.objects.filter(pk=row.pk).update(next_attempt_at=Now() + timedelta(seconds=pause))
            relay.wake_in(pause)
    return row


def _deaths(row: InboxMessage) -> int:
    """How many workers ended while they handled it, the last attempt included."""
    errors = [row.error, *(failure["error"] for failure in row.failures or [])]
    return sum(error.startswith(WorkerDied.__name__) for error in errors)


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
