"""A message of a process as people read it: from its row in the outbox and its row in the inbox."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal
from uuid import UUID

from django.urls import reverse
from django.utils.text import Truncator

from orders.contracts import DeadlinePassed
from orders.office.words import clock, in_plain, number_of
from pizzahouse.messaging.envelope import Envelope, unseal
from pizzahouse.messaging.errors import InvalidMessage
from pizzahouse.messaging.messages import kind
from pizzahouse.messaging.models import InboxMessage, OutboxMessage

Status = InboxMessage.Status
Tone = Literal["good", "calm", "warn", "bad"]
Times = tuple[tuple[str, str], ...]
LATE = timedelta(seconds=10)  # what could have been sent for so long is in trouble
MOST_LETTERS = 20_000  # of a payload or a traceback
MOST_ATTEMPTS = 20  # that are told one by one


@dataclass(frozen=True)
class Link:
    """Another message."""

    text: str
    href: str  # its place in the timeline; where it is not shown there, its page in the outbox


@dataclass(frozen=True)
class Attempt:
    """An attempt that failed."""

    number: int
    time: str
    error: str
    then: str


@dataclass(frozen=True)
class Item:
    """A message, and what came of it. What is not known, or was not, is empty."""

    is_idle: ClassVar[bool] = False

    id: UUID
    type: str
    kind: str  # command or event
    destination: str
    at: datetime  # when it was put
    time: str  # the same by the clock
    status: str  # in a few words
    tone: Tone
    is_quiet: bool = False  # a deadline that changed nothing
    is_problem: bool = False
    step: str = ""  # the step of the process that it caused
    from_state: str = ""
    to_state: str = ""
    detail: str = ""  # why it was ignored, or what the step noted
    repeats: str = ""  # how often it came again after it was handled
    times: Times = ()  # what happened, and when: put, due, sent, handled
    handler: str = ""
    error: str = ""  # the first line of the last one
    attempts: tuple[Attempt, ...] = ()  # the failed ones
    traceback: str = ""  # of the last one
    payload: str = ""  # as JSON; of what failed: as it came
    cause: Link | None = None
    effects: tuple[Link, ...] = ()
    more_effects: str = ""  # that there are others
    href: str = ""  # where it is shown: its place in the timeline, or a page of its own
    url: str = ""  # its page in the outbox
    handled_url: str = ""  # its page in the inbox
    mend_url: str = ""  # where it can be edited, where it fails

    @property
    def anchor(self) -> str:
        """Its place in the timeline."""
        return anchor_of(self.id)


def anchor_of(message_id: UUID) -> str:
    """The place of a message in the timeline."""
    return f"m-{message_id}"


def outbox_url(message_id: UUID) -> str:
    """The page of a message in the outbox."""
    return reverse("admin:messaging_outboxmessage_change", args=[message_id])


def put(row: OutboxMessage, claim: InboxMessage | None, now: datetime) -> Item:
    """A message that was put, and what came of it so far."""
    status, tone = _under_way(row, now)
    item = Item(
        id=row.id,
        type=row.type,
        kind=kind(row.type),
        destination=row.destination,
        at=row.created_at,
        time=exactly(row.created_at, now),
        status=status,
        tone=tone,
        is_quiet=row.type == DeadlinePassed.__name__,
        times=tuple(_journey(row, now)),
        payload=_as_json(row.payload),
        href=f"#{anchor_of(row.id)}",
        url=outbox_url(row.id),
    )
    return _with_outcome(item, claim, now) if claim else item


def came(claim: InboxMessage, now: datetime) -> Item:
    """A message of which only the inbox is asked."""
    envelope = _envelope(claim)
    at = envelope.created_at if envelope and envelope.created_at else claim.handled_at
    address, time = claim.handler.rpartition(".")[0], exactly(at, now)
    item = Item(claim.message_id, claim.type, kind(claim.type), address, at, time, status="", tone="calm")
    item = _with_outcome(item, claim, now)
    return replace(item, href=item.handled_url)


def exactly(at: datetime, now: datetime) -> str:
    """By the clock, to the millisecond."""
    return f"{clock(at, now)}.{at.microsecond // 1000:03d}"


# --- On its way -----------------------------------------------------------------------------------


def _under_way(row: OutboxMessage, now: datetime) -> tuple[str, Tone]:
    if row.sent_at is not None:
        return "sent, not handled yet", "calm"
    if row.due_at is not None and row.due_at > now:
        return f"due {clock(row.due_at, now)}", "calm"
    late = now - (row.due_at or row.created_at) > LATE
    return "not sent yet", "warn" if late else "calm"


def _journey(row: OutboxMessage, now: datetime) -> Iterator[tuple[str, str]]:
    yield "put", exactly(row.created_at, now)
    if row.due_at is not None:
        yield "due", exactly(row.due_at, now)
    if row.sent_at is not None:
        yield "sent", exactly(row.sent_at, now) + (f" (sent {row.sends} times)" if row.sends > 1 else "")


# --- Handled, or not ------------------------------------------------------------------------------


def _with_outcome(item: Item, claim: InboxMessage, now: datetime) -> Item:
    """With what the inbox tells of it."""
    status, tone = _outcome(claim, now)
    settled, failures = claim.status not in claim.TROUBLE, claim.failures or []
    moved = bool(claim.step) and claim.from_state != claim.to_state
    return replace(
        item,
        status=status,
        tone=tone,
        is_quiet=item.is_quiet and settled and not moved,
        is_problem=claim.is_in_trouble,
        step=in_plain(claim.step),
        from_state=in_plain(claim.from_state) if claim.step else "",
        to_state=in_plain(claim.to_state) if claim.step else "",
        detail=claim.detail,
        repeats=f"came {number_of(claim.repeats, 'more time')}" if claim.repeats else "",
        times=(*item.times, *([("handled", exactly(claim.handled_at, now))] if settled else [])),
        handler=claim.handler,
        error=claim.error.partition("\n")[0] if failures else "",
        attempts=tuple(_attempt(each, now) for each in failures[-MOST_ATTEMPTS:]),
        traceback=_short(claim.traceback) if failures else "",
        payload=_as_json(_arrived(claim)) if claim.message else item.payload,
        handled_url=reverse("admin:messaging_inboxmessage_change", args=[claim.pk]),
        mend_url="" if settled else reverse("office:dead_message", args=[claim.pk]),
    )


def _outcome(claim: InboxMessage, now: datetime) -> tuple[str, Tone]:
    match claim.status:
        case Status.DONE:
            late = f" at attempt {claim.attempts}" if claim.attempts > 1 else ""
            return f"handled{late}", "good"
        case Status.IGNORED:
            return "ignored", "calm"
        case Status.DEAD:
            return f"dead after {number_of(claim.attempts, 'attempt')}", "bad"
    if not claim.attempts:
        return "a worker is at it", "calm"
    again = f", tried again at {clock(claim.next_attempt_at, now)}" if claim.next_attempt_at else ""
    return f"failed at attempt {claim.attempts}{again}", "warn"


def _attempt(failure: dict[str, Any], now: datetime) -> Attempt:
    pause = failure["next_attempt_in"]
    at = exactly(datetime.fromisoformat(failure["at"]), now)
    return Attempt(
        failure["attempt"], at, failure["error"], "dead" if pause is None else f"again after {pause:g} s"
    )


def _envelope(claim: InboxMessage) -> Envelope | None:
    try:
        return unseal(claim.message or {})[0]
    except InvalidMessage:
        return None


def _arrived(claim: InboxMessage) -> Any:
    """Its payload as it came; of what nobody could read everything."""
    return claim.message["payload"] if _envelope(claim) and claim.message else claim.message


def _as_json(value: Any) -> str:
    return _short(json.dumps(value, indent=2, ensure_ascii=False))


def _short(text: str) -> str:
    return Truncator(text).chars(MOST_LETTERS)
