"""The relay: what is due goes to the broker; what the broker confirmed is marked sent.

Fast path: a process hands over its own messages from memory, right after their commit. For the rest, of
processes that died and for what was put with a delay, it sweeps the tables once a second and whenever
something it knows of falls due. A relay that takes rows leases them (`available_at` moves forward): if it
dies, the lease runs out and another takes them.

Sent is not processed: a broker may lose what it has confirmed. What was not handled when it is marked is
looked at again later, and sent again under the same id if it still was not, each time after twice the
pause, so that a queue which is only long is not flooded.
"""

import heapq
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Protocol, TypeVar
from uuid import UUID

import msgspec
import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import close_old_connections, connection, transaction
from django.db.models import (
    DateTimeField,
    DurationField,
    ExpressionWrapper,
    F,
    OuterRef,
    QuerySet,
    Subquery,
    Value,
)
from django.db.models.functions import Coalesce, Greatest, Now

from pizzahouse.messaging import metrics
from pizzahouse.messaging.envelope import Envelope, Letter, unseal
from pizzahouse.messaging.errors import InvalidMessage
from pizzahouse.messaging.models import InboxMessage, OutboxMessage

log = structlog.get_logger(__name__)
Row = TypeVar("Row", OutboxMessage, InboxMessage)

LEASE_SECONDS = 10.0
RETRY_LEASE_SECONDS = 60.0  # a failed message that was sent again may have to queue
LONGEST_RESEND_SECONDS = 86_400.0
SWEEP_SECONDS = 1.0
SHORTEST_SWEEP_SECONDS = 0.02
PUNCTUAL_SECONDS = 10.0  # what is due later than that is sent by a regular sweep, a second late at the most
SWEEP_ROWS = 500
CHECK_SECONDS = 5.0  # between two looks for what was sent and not handled


class Publisher(Protocol):
    """Hands sealed messages to a broker, many at once; tells the relay which ones it has confirmed."""

    @property
    def ready(self) -> bool:
        """Whether it takes more: the broker is there, and has confirmed most of what it got."""

    def start(self, relay: "Relay") -> None: ...
    def publish(self, letters: Iterable[Letter]) -> None: ...
    def stop(self, timeout: float) -> None: ...


class Relay(threading.Thread):
    """One relay, a thread of its process."""

    def __init__(self, publisher: Publisher) -> None:
        super().__init__(name="relay", daemon=True)
        self.publisher = publisher
        self.confirmed: deque[UUID] = deque()
        self._due: list[float] = []  # when something falls due, in monotonic seconds
        self._wake = threading.Event()
        self._last_sweep = self._last_check = -SWEEP_SECONDS
        self._stopping = False

    def hand_over(self, letters: Sequence[Letter]) -> None:
        """Publish what was just committed; what has a delay is swept when it is due. Any thread."""
        self.publisher.publish([letter for letter in letters if not letter.delay])
        for letter in letters:
            if 0 < letter.delay < PUNCTUAL_SECONDS:
                self.wake_in(letter.delay)

    def wake_in(self, seconds: float) -> None:
        """Sweep again so soon. Any thread."""
        heapq.heappush(self._due, time.monotonic() + seconds)
        self._wake.set()

    def start(self) -> None:
        self.publisher.start(self)
        super().start()

    def run(self) -> None:
        while not self._stopping:
            try:
                close_old_connections()
                self.mark()
                if time.monotonic() >= self._next_sweep():
                    self._last_sweep = time.monotonic()
                    self.sweep()
            except DatabaseError as error:
                log.warning("relay waits for the database", error=str(error).strip())
                connection.close()
                self._last_sweep = time.monotonic()
            except Exception:  # a process whose relay has ended would send nothing more, and not say so
                log.exception("relay failed; it goes on")
                self._last_sweep = time.monotonic()
            self._wake.wait(max(self._next_sweep() - time.monotonic(), 0.0))
            self._wake.clear()
        self._finish()

    def _next_sweep(self) -> float:
        """Once a second, and when something falls due; much falling due at once is taken together."""
        regular = self._last_sweep + SWEEP_SECONDS
        earliest = self._last_sweep + SHORTEST_SWEEP_SECONDS
        return max(earliest, min([regular, *self._due[:1]]))

    def stop(self, timeout: float = 10.0) -> None:
        """Publish and mark what is in hand, then end; at the most after so many seconds."""
        self._stopping = True
        self._wake.set()
        self.join(timeout)

    def _finish(self) -> None:
        self.publisher.stop(timeout=5.0)
        try:
            self.mark()
        except DatabaseError as error:
            log.warning("what was sent last could not be marked", error=str(error).strip())
        connection.close()

    # --- The database side ------------------------------------------------------------------------

    def confirm(self, message_ids: Sequence[UUID]) -> None:
        """The broker has these. Called by the publisher, from its thread."""
        self.confirmed.extend(message_ids)
        metrics.confirmed.inc(len(message_ids))

    def mark(self) -> None:
        """Mark sent what was confirmed, batch by batch. Losing a mark is harmless (the message is sent again
        and found claimed), so this commit does not wait for the disk."""
        while self.confirmed:
            batch = [self.confirmed.popleft() for _ in range(min(len(self.confirmed), SWEEP_ROWS))]
            try:
                mark_sent(batch)
            except DatabaseError:
                self.confirmed.extendleft(batch)
                raise

    def sweep(self) -> None:
        """Lease and publish what is due, batch by batch. Nothing is leased while the broker is away."""
        metrics.sweeps.inc()
        now = time.monotonic()
        while self._due and self._due[0] <= now:
            heapq.heappop(self._due)
        takers = [take_pending, take_failed]
        if now - self._last_check >= CHECK_SECONDS:
            self._last_check = now
            takers.append(take_unhandled)
        while self.publisher.ready and not self._stopping:
            letters = [letter for take in takers for letter in take(SWEEP_ROWS)]
            self.publisher.publish(letters)
            if len(letters) < SWEEP_ROWS:
                break


# Whether a message was handled, or failed: then it is no longer the outbox's to send. Looked up for each
# message: PostgreSQL answers EXISTS now and then by reading the whole inbox into memory.
_CLAIM = Subquery(InboxMessage.objects.filter(message_id=OuterRef("id")).values("id")[:1])
_MARK = f"""
    UPDATE {OutboxMessage._meta.db_table} AS outbox SET sent_at = statement_timestamp(), sends = sends + 1,
        available_at = CASE WHEN
            (SELECT id FROM {InboxMessage._meta.db_table} WHERE message_id = outbox.id LIMIT 1) IS NULL
            THEN statement_timestamp() + make_interval(secs => least(%s * power(2, least(sends, 30)), %s)) END
    WHERE id = ANY(%s)"""


def mark_sent(message_ids: list[UUID]) -> None:
    """These are with the broker. What was handled by now no relay looks at any more; the rest is looked at
    again after `RESEND_SECONDS`, the next time after twice that, and so on."""
    first: Any = settings.MESSAGING["RESEND_SECONDS"]
    if connection.vendor == "postgresql":
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit TO off")
            cursor.execute(_MARK, [first, LONGEST_RESEND_SECONDS, message_ids])
        return
    sends_of = dict(OutboxMessage.objects.filter(id__in=message_ids).values_list("id", "sends"))
    for sends in set(sends_of.values()):
        pause = min(first * 2.0 ** min(sends, 30), LONGEST_RESEND_SECONDS)
        alike = OutboxMessage.objects.filter(id__in=[each for each in sends_of if sends_of[each] == sends])
        later = Now() + timedelta(seconds=pause)
        alike.update(sent_at=Now(), sends=sends + 1, available_at=later)
        alike.annotate(claim=_CLAIM).exclude(claim=None).update(available_at=None)


def take_pending(limit: int) -> list[Letter]:
    """Lease rows of the outbox that are due; no other relay has them until the lease runs out."""
    return _take(OutboxMessage.objects.filter(sent_at=None), limit)


def take_unhandled(limit: int) -> list[Letter]:
    """The same of what was sent long ago, and was not handled: a broker may have lost it."""
    letters = _take(OutboxMessage.objects.filter(sent_at__isnull=False), limit)
    if letters:
        log.warning("sent long ago and never handled: they are sent again", messages=len(letters))
        metrics.UNHANDLED.inc(len(letters))
    return letters


def _take(rows: QuerySet[OutboxMessage], limit: int) -> list[Letter]:
    """What was handled, although nobody could mark it, is settled on the way."""
    while True:
        with transaction.atomic():
            due = rows.filter(available_at__lte=Now()).annotate(claim=_CLAIM).order_by("available_at")
            taken: list[Any] = list(_lock(due)[:limit])
            handled = [row.id for row in taken if row.claim is not None]
            rest = [row for row in taken if row.claim is None]
            if handled:
                settled = OutboxMessage.objects.filter(id__in=handled)
                settled.update(available_at=None, sent_at=Coalesce("sent_at", Now()))
            if rest:
                leased = OutboxMessage.objects.filter(id__in=[row.id for row in rest])
                leased.update(available_at=Now() + timedelta(seconds=LEASE_SECONDS))
        if rest or len(taken) < limit:
            return [letter_of(row) for row in rest]


@transaction.atomic
def take_failed(limit: int) -> list[Letter]:
    """Lease messages whose next attempt is due. What comes of it is not known for a while where a queue is
    long: the lease is as long as the time since the last attempt, so it doubles each time."""
    due = InboxMessage.objects.filter(status="failed", next_attempt_at__lte=Now())
    rows = list(_lock(due.order_by("next_attempt_at"))[:limit])
    if rows:
        since = ExpressionWrapper(Now() - F("handled_at"), DurationField())
        shortest = Value(timedelta(seconds=RETRY_LEASE_SECONDS), DurationField())
        InboxMessage.objects.filter(id__in=[row.id for row in rows]).update(
            next_attempt_at=ExpressionWrapper(Now() + Greatest(shortest, since), DateTimeField())
        )
    letters = [letter for row in rows if (letter := _failed_letter(row))]
    metrics.FAILED_BEFORE.inc(len(letters))
    return letters


def is_kept_as_it_came(row: InboxMessage) -> bool:
    """Whether a message that failed can be sent again: what nobody could read cannot."""
    try:
        unseal(row.message or {})
    except InvalidMessage:
        return False
    return True


def _failed_letter(row: InboxMessage) -> Letter | None:
    try:
        envelope, payload = unseal(row.message or {})
    except InvalidMessage as error:  # it was not kept as it came, and cannot be sent again
        log.error("dead", type=row.type, error=str(error))
        InboxMessage.objects.filter(pk=row.pk).update(status="dead", next_attempt_at=None)
        return None
    again = msgspec.structs.replace(envelope, sends=max(envelope.sends, row.attempts, 1))
    return Letter(again, msgspec.json.encode(payload))


def _lock(rows: QuerySet[Row]) -> QuerySet[Row]:
    """SQLite has one writer at a time and needs no row locks."""
    if connection.features.has_select_for_update_skip_locked:
        return rows.select_for_update(skip_locked=True)
    return rows


def letter_of(row: OutboxMessage) -> Letter:
    """The message that a row of the outbox keeps."""
    envelope = Envelope(
        message_id=row.id,
        type=row.type,
        destination=row.destination,
        reply_to=row.reply_to,
        saga=row.saga_id,
        causation=row.causation_id,
        trace=row.trace,
        created_at=row.created_at,
        due_at=row.due_at,
        sends=row.sends,
    )
    return Letter(envelope, msgspec.json.encode(row.payload))


# --- This process's own relay ---------------------------------------------------------------------

_local: Relay | None = None


def local() -> Relay | None:
    """The relay that runs in this process, if one does."""
    return _local


def start(publisher: Publisher) -> Relay:
    """Start this process's relay; from now on its messages are published from memory."""
    global _local  # noqa: PLW0603  (a process has one)
    _local = Relay(publisher)
    _local.start()
    return _local


def stop() -> None:
    """Stop it; what is put from now on is left to other relays."""
    global _local
    relay, _local = _local, None
    if relay is not None:
        relay.stop()


def wake_in(seconds: float) -> None:
    """Tell this process's relay, if there is one, that something falls due so soon."""
    if _local is not None:
        _local.wake_in(seconds)
