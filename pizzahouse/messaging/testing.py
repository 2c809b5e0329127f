"""Try it out without a broker: deliver what is due until quiet, see what was sent, handle it all twice.

with transaction.atomic():
    saga = TableService.begin(StartTableService(table="TBL1"))
deliver()
assert sent("ServePizzas", saga=saga)
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db.models.functions import Now

from pizzahouse.messaging import relay
from pizzahouse.messaging.envelope import Letter
from pizzahouse.messaging.handling import hand
from pizzahouse.messaging.messages import Message, decode
from pizzahouse.messaging.models import InboxMessage, OutboxMessage

__all__ = ["deliver", "hand", "letters", "sent"]

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
MANY = 10_000  # deliveries; more means that messages go round in circles


def deliver(*, later: bool | timedelta = False, twice: bool = False, limit: int = MANY) -> int:
    """Deliver what waits in the outbox, and what comes of it, oldest first, until nothing is due.

    later: also what is due within so long, as if the time had come; True: within a minute, so that pauses
    and new attempts are over and no deadline has passed. twice: each message two times, as a broker may.
    Returns how many messages were delivered. Raises AssertionError past the limit.
    """
    delivered = 0
    while letters := _due(later):
        for letter in letters:
            delivered += 1
            assert delivered <= limit, f"still not quiet after {limit} messages"
            for _ in range(2 if twice else 1):
                hand(letter)
    return delivered


def _due(later: bool | timedelta) -> list[Letter]:
    if later:
        within = timedelta(minutes=1) if later is True else later
        soon = OutboxMessage.objects.filter(sent_at=None, available_at__lte=Now() + within)
        soon.update(available_at=_LONG_AGO)
        InboxMessage.objects.filter(status="failed").update(next_attempt_at=_LONG_AGO)
    letters = [*relay.take_pending(MANY), *relay.take_failed(MANY)]
    relay.mark_sent([letter.envelope.message_id for letter in letters])
    return letters


def sent(name: str = "", *, saga: UUID | None = None) -> list[Message]:
    """The messages that were put so far, oldest first; of this wire name, of this saga."""
    rows = OutboxMessage.objects.order_by("id")
    if name:
        rows = rows.filter(type=name)
    if saga:
        rows = rows.filter(saga_id=saga)
    return [decode(row.type, row.payload) for row in rows]


def letters(name: str = "") -> list[Letter]:
    """The same as they travel, to be handed again, or in another order."""
    rows = OutboxMessage.objects.order_by("id")
    return [relay.letter_of(row) for row in (rows.filter(type=name) if name else rows)]
