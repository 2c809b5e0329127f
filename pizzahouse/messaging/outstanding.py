"""What is outstanding: messages that were put and not handled yet. To see why a saga waits, and to send
again, under the same ids, what it waits for."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from pizzahouse.messaging import relay
from pizzahouse.messaging.messages import Message
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from pizzahouse.messaging.outbox import current_envelope

Status = InboxMessage.Status
BATCH = 1000  # rows in one INSERT: PostgreSQL takes 65,535 values at once


class Why(StrEnum):
    """Where an outstanding message is."""

    SCHEDULED = "scheduled"  # not due yet, as it was put
    PENDING = "pending"  # in the outbox: the broker does not have it
    SENT = "sent"  # with the broker, or with a worker
    FAILED = "failed"  # its handler raised; it is tried again
    DEAD = "dead"  # it waits for a human


@dataclass(frozen=True, slots=True)
class Outstanding:
    """A message that was put and not handled yet."""

    message_id: UUID
    type: str
    destination: str
    why: Why
    since: datetime
    until: datetime | None = None  # scheduled or failed: when it is due
    attempts: int = 0
    error: str = ""
    saga_id: UUID | None = None

    def __str__(self) -> str:
        text = f"{self.type} to {self.destination}: {self.why}"
        if self.until:
            text += f", due {self.until:%H:%M:%S}"
        return f"{text}, {self.error}" if self.error else text

    def as_json(self) -> dict[str, Any]:
        """In plain values."""
        return {
            "type": self.type,
            "message_id": str(self.message_id),
            "destination": self.destination,
            "saga": self.saga_id and str(self.saga_id),
            "status": str(self.why),
            "since": self.since.isoformat(),
            "until": self.until and self.until.isoformat(),
            "attempts": self.attempts,
            "error": self.error,
        }


def rows() -> QuerySet[OutboxMessage]:
    """The outbox's rows that nobody has handled yet."""
    settled = InboxMessage.objects.filter(message_id=OuterRef("id"), status__in=(Status.DONE, Status.IGNORED))
    return OutboxMessage.objects.filter(~Exists(settled)).order_by("id")


def of(saga_id: UUID, *contracts: type[Message]) -> list[Outstanding]:
    """What a saga waits for; only messages of these contracts, if any are named."""
    found = rows().filter(saga_id=saga_id)
    if contracts:
        found = found.filter(type__in=[contract.__name__ for contract in contracts])
    unhandled = list(found)
    if not unhandled:
        return []
    failing = InboxMessage.objects.filter(
        message_id__in=[row.id for row in unhandled], status__in=InboxMessage.TROUBLE
    )
    claims = {claim.message_id: claim for claim in failing}
    now = timezone.now()
    return [_outstanding(row, claims.get(row.id), now) for row in unhandled]


def where(row: OutboxMessage) -> Outstanding:
    """Where a message is that nobody has handled yet."""
    failing = InboxMessage.objects.filter(message_id=row.id, status__in=InboxMessage.TROUBLE)
    return _outstanding(row, failing.first(), timezone.now())


def _outstanding(row: OutboxMessage, claim: InboxMessage | None, now: datetime) -> Outstanding:
    names = (row.id, row.type, row.destination)
    if claim is not None:
        return _failing(claim, row.destination)
    if row.sent_at is not None:
        return Outstanding(*names, Why.SENT, row.sent_at, saga_id=row.saga_id)
    if row.due_at is not None and row.due_at > now:
        return Outstanding(*names, Why.SCHEDULED, row.created_at, row.due_at, saga_id=row.saga_id)
    return Outstanding(*names, Why.PENDING, row.due_at or row.created_at, saga_id=row.saga_id)


def _failing(claim: InboxMessage, destination: str) -> Outstanding:
    why = Why.DEAD if claim.status == Status.DEAD else Why.FAILED
    return Outstanding(
        claim.message_id,
        claim.type,
        destination,
        why,
        since=claim.handled_at,
        until=claim.next_attempt_at,
        attempts=claim.attempts,
        error=claim.error,
        saga_id=claim.saga_id,
    )


def troubled(why: Why) -> Iterator[Outstanding]:
    """All messages that are failing, dead, or pending and due, the oldest first."""
    if why == Why.PENDING:
        now = timezone.now()
        due = rows().filter(Q(due_at=None) | Q(due_at__lte=Now()), sent_at=None)
        for row in due.filter(available_at__isnull=False).iterator():
            yield _outstanding(row, None, now)
        return
    status = Status.DEAD if why == Why.DEAD else Status.FAILED
    for claim in InboxMessage.objects.filter(status=status).order_by("id").iterator():
        yield _failing(claim, claim.handler.rpartition(".")[0])


@transaction.atomic
def send_again(saga_id: UUID, *, dead: bool = True) -> list[Outstanding]:
    """Send again, under the same ids, all that a saga waits for and that is due; dead: also what is dead.
    Safe at any time: what was handled meanwhile is not handled twice. Returns what is sent, as it was
    before."""
    left_alone = {Why.SCHEDULED} if dead else {Why.SCHEDULED, Why.DEAD}
    here = current_envelope()
    again = [
        each
        for each in of(saga_id)
        if each.why not in left_alone and not (here and each.message_id == here.message_id)
    ]
    resend(each.message_id for each in again)
    return again


@transaction.atomic
def resend(message_ids: Iterable[UUID]) -> None:
    """Send these again, whether they failed, are dead, or are lost; what was handled is left alone."""
    ids = list(message_ids)
    claims = InboxMessage.objects.filter(message_id__in=ids)
    claimed = set(claims.values_list("message_id", flat=True))
    claims.filter(status__in=InboxMessage.TROUBLE).update(status=Status.FAILED, next_attempt_at=Now())
    OutboxMessage.objects.filter(id__in=[each for each in ids if each not in claimed]).update(
        sent_at=None, available_at=Now()
    )
    transaction.on_commit(partial(relay.wake_in, 0), robust=True)


@transaction.atomic
def withdraw(saga_id: UUID, *contracts: type[Message], why: str) -> list[Outstanding]:
    """Take back messages of a saga that nobody has handled yet, wherever they are: they are claimed here,
    as ignored, so that whoever gets one later finds it handled. One that is being handled at this moment
    is waited for, and stays what it is. Returns what is taken back."""
    wanted = of(saga_id, *contracts)
    back = claim_as_ignored(wanted, f"withdrawn: {why}")
    return [each for each in wanted if each.message_id in back]


def claim_as_ignored(wanted: Iterable[Outstanding], detail: str) -> set[UUID]:
    """Claim outstanding messages here, as ignored, for this reason. One that is being handled at this
    moment is waited for. Returns the ids of those that are ignored for it now; the others were handled."""
    settled = _ignored(detail)
    new = [
        InboxMessage(
            message_id=each.message_id,
            handler=f"{each.destination}.{each.type}",
            type=each.type,
            saga_id=each.saga_id,
            **settled,
        )
        for each in wanted
    ]
    claims = InboxMessage.objects.filter(message_id__in=[row.message_id for row in new])
    # First what is new: it waits for whoever is about to claim one, or to record that one failed.
    InboxMessage.objects.bulk_create(new, ignore_conflicts=True, batch_size=BATCH)
    claims.filter(status__in=InboxMessage.TROUBLE).update(**settled)
    withdrawn = claims.filter(status=Status.IGNORED, detail=detail)
    back = set(withdrawn.values_list("message_id", flat=True))
    OutboxMessage.objects.filter(id__in=back).update(available_at=None)
    return back


def settle(row: InboxMessage, detail: str) -> None:
    """Settle a message that failed, and whose row is locked, as ignored for this reason."""
    InboxMessage.objects.filter(pk=row.pk).update(**_ignored(detail))
    OutboxMessage.objects.filter(id=row.message_id).update(available_at=None)


def _ignored(detail: str) -> dict[str, Any]:
    rest = {"handled_at": Now(), "started_at": None, "next_attempt_at": None}
    return {"status": Status.IGNORED, "detail": detail, **rest}


def recover() -> int:
    """After an embedded broker died with its process: send again what it had, and what was leased to its
    relay. Returns how many messages that are."""
    unclaimed = rows().filter(~Exists(InboxMessage.objects.filter(message_id=OuterRef("id"))))
    due = unclaimed.filter(Q(due_at=None) | Q(due_at__lte=Now()))
    InboxMessage.objects.filter(status=Status.FAILED).update(next_attempt_at=Now())
    # Whether the process died before it marked them or not: they may have been what it died of.
    return OutboxMessage.objects.filter(id__in=due.values("id")).update(
        sent_at=None, sends=F("sends") + 1, available_at=Now()
    )


def sagas_under_way(within: timedelta = timedelta(days=36500)) -> set[UUID]:
    """The sagas for which something is to happen, so soon and without a human."""
    dead = InboxMessage.objects.filter(message_id=OuterRef("id"), status=Status.DEAD)
    soon = Q(due_at=None) | Q(due_at__lte=Now() + within)
    under_way = rows().filter(soon, ~Exists(dead), saga_id__isnull=False)
    return {saga_id for saga_id in under_way.values_list("saga_id", flat=True) if saga_id}
