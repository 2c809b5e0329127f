"""What happened to a saga, from the rows that its messages left."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pizzahouse.messaging.messages import kind
from pizzahouse.messaging.models import InboxMessage, OutboxMessage

Status = InboxMessage.Status
_LEFT: dict[str, str] = {  # what became of a message that came again
    Status.DEAD: "it is dead, and was left alone",
    Status.IGNORED: "it is settled, and was left alone",
    Status.FAILED: "it is tried again",
    Status.DONE: "handled once",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a history."""

    at: datetime
    kind: str  # command, event, transition, ignored or failure
    type: str  # the message's wire name; of a transition the name of its step
    message_id: UUID
    causation_id: UUID | None = None
    from_state: str = ""
    to_state: str = ""
    detail: str = ""

    def as_json(self) -> dict[str, Any]:
        """The entry in plain values."""
        return {
            "at": self.at.isoformat(),
            "kind": self.kind,
            "type": self.type,
            "message_id": str(self.message_id),
            "causation_id": self.causation_id and str(self.causation_id),
            "from_state": self.from_state or None,
            "to_state": self.to_state or None,
            "detail": self.detail,
        }


def of(saga_id: UUID) -> list[Entry]:
    """The history of a saga, in the order of time; a step comes before the messages it put."""
    entries = [_put(row) for row in OutboxMessage.objects.filter(saga_id=saga_id)]
    for claim in InboxMessage.objects.filter(saga_id=saga_id):
        entries.extend(_handled(claim))
    return sorted(entries, key=lambda entry: (entry.at, entry.kind in ("command", "event")))


def _put(row: OutboxMessage) -> Entry:
    detail = f"to {row.destination}"
    if row.due_at:
        same_day = row.due_at.date() == row.created_at.date()
        detail += f", due {row.due_at:%H:%M:%S}" if same_day else f", due {row.due_at:%Y-%m-%d %H:%M:%S}"
    if row.sent_at is None:
        detail += ", not sent yet"
    elif row.sends > 1:
        detail += f", sent {row.sends} times"
    return Entry(row.created_at, kind(row.type), row.type, row.id, row.causation_id, detail=detail)


def _handled(claim: InboxMessage) -> Iterator[Entry]:
    failures = claim.failures or []
    for failure in failures:
        yield _failure(claim, failure, last=failure is failures[-1])
    at, ids = claim.handled_at, (claim.message_id, claim.message_id)
    states = (claim.from_state, claim.to_state)
    if claim.step:
        yield Entry(at, "transition", claim.step, *ids, *states, claim.detail)
    if claim.status == Status.IGNORED:
        yield Entry(at, "ignored", claim.type, *ids, *states, claim.detail)
    if claim.repeats:
        detail = f"delivered {claim.repeats} more times at {claim.handler}, {_LEFT[claim.status]}"
        yield Entry(at, "ignored", claim.type, *ids, detail=detail)


def _failure(claim: InboxMessage, failure: dict[str, Any], *, last: bool) -> Entry:
    then = failure["next_attempt_in"]
    detail = f"attempt {failure['attempt']} at {claim.handler}: {failure['error']}"
    detail += f"; next attempt in {then:g} s" if then is not None else "; dead"
    if then is None and claim.status == Status.DEAD and last:
        detail += f"\n{claim.traceback}"
    at = datetime.fromisoformat(failure["at"])
    return Entry(at, "failure", claim.type, claim.message_id, claim.message_id, detail=detail)
