"""What is outstanding: messages that were put and not handled yet. To see why a saga waits, and to send
again, under the same ids, what it waits for."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from pizzahouse.messaging import relay
from pizzahouse.messaging.models import InboxMessage, OutboxMessage

Status = InboxMessage.Status


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


def of(saga_id: UUID) -> list[Outstanding]:
    """What a saga waits for."""
    claims = {
        claim.message_id: claim
        for claim in InboxMessage.objects.filter(saga_id=saga_id).exclude(
            status__in=(Status.DONE, Status.IGNORED)
        )
    }
    now = timezone.now()
    return [_outstanding(row, claims.get(row.id), now) for row in rows().filter(saga_id=saga_id)]


def _outstanding(row: OutboxMessage, claim: InboxMessage | None, now: datetime) -> Outstanding:
    names = (row.id, row.type, row.destination)
    if claim is not None:
        why = Why.DEAD if claim.status == Status.DEAD else Why.FAILED
        since, until = claim.handled_at, claim.next_attempt_at
        return Outstanding(*names, why, since, until, claim.attempts, claim.error)
    if row.sent_at is not None:
        return Outstanding(*names, Why.SENT, row.sent_at)
    if row.due_at is not None and row.due_at > now:
        return Outstanding(*names, Why.SCHEDULED, row.created_at, row.due_at)
    return Outstanding(*names, Why.PENDING, row.created_at)


@transaction.atomic
def send_again(saga_id: UUID) -> list[Outstanding]:
    """Send again, under the same ids, all that a saga waits for and that is due. Safe at any time: what
    was handled meanwhile is not handled twice. Returns what is sent, as it was before."""
    again = [each for each in of(saga_id) if each.why != Why.SCHEDULED]
    _resend(each.message_id for each in again)
    transaction.on_commit(partial(relay.wake_in, 0), robust=True)
    return again


def _resend(message_ids: Iterable[UUID]) -> None:
    ids = list(message_ids)
    claims = InboxMessage.objects.filter(message_id__in=ids)
    claimed = set(claims.values_list("message_id", flat=True))
    claims.filter(status__in=(Status.FAILED, Status.DEAD)).update(status=Status.FAILED, next_attempt_at=Now())
    OutboxMessage.objects.filter(id__in=[each for each in ids if each not in claimed]).update(
        sent_at=None, available_at=Now()
    )


def recover() -> int:
    """After an embedded broker died with its process: send again what it had, and what was leased to its
    relay. Returns how many messages that are."""
    unclaimed = rows().filter(~Exists(InboxMessage.objects.filter(message_id=OuterRef("id"))))
    due = unclaimed.filter(Q(due_at=None) | Q(due_at__lte=Now()))
    InboxMessage.objects.filter(status=Status.FAILED).update(next_attempt_at=Now())
    return OutboxMessage.objects.filter(id__in=due.values("id")).update(sent_at=None, available_at=Now())


def sagas_under_way() -> set[UUID]:
    """The sagas that wait for something other than a human."""
    dead = InboxMessage.objects.filter(message_id=OuterRef("id"), status=Status.DEAD)
    under_way = rows().filter(~Exists(dead), saga_id__isnull=False)
    return {saga_id for saga_id in under_way.values_list("saga_id", flat=True) if saga_id}
