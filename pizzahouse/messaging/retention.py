"""How long messages are kept: until nobody can need them any more."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from pizzahouse.messaging.models import InboxMessage, OutboxMessage

Status = InboxMessage.Status
BATCH = 1000  # messages in one transaction
SETTLED = (Status.DONE, Status.IGNORED)


def prunable(before: datetime, *running: QuerySet[Any, UUID]) -> QuerySet[OutboxMessage]:
    """The messages that were put and handled before this time, and are not of a running saga.

    running: the ids of the sagas that run, of each kind. What is pending, failing or dead is never among
    them. What a broker delivers once more afterwards is known by its missing row (`failures.begin`).
    """
    claims = InboxMessage.objects.filter(message_id=OuterRef("id"))
    settled = Q(status__in=SETTLED, handled_at__lt=before)
    handled = Exists(claims.filter(settled)) & ~Exists(claims.exclude(settled))
    old = OutboxMessage.objects.filter(handled, available_at=None, created_at__lt=before)
    for ids in running:
        old = old.filter(Q(saga_id=None) | ~Q(saga_id__in=ids))
    return old


def prune(before: datetime, *running: QuerySet[Any, UUID], limit: int = BATCH) -> int:
    """Delete a batch of them, the oldest first, each with its row of the inbox. Returns how many."""
    with transaction.atomic():
        ids = list(prunable(before, *running).order_by("id").values_list("id", flat=True)[:limit])
        InboxMessage.objects.filter(message_id__in=ids).delete()
        OutboxMessage.objects.filter(id__in=ids).delete()
    return len(ids)
