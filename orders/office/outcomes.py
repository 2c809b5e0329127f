"""What came of mending, told only once it is known: a message that was sent again has mended nothing until it
was handled and its process has gone on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from orders.office.models import Mended, Process
from orders.office.words import in_plain, named
from orders.saga import find
from pizzahouse.messaging.errors import shortened
from pizzahouse.messaging.models import InboxMessage
from pizzahouse.messaging.outstanding import Why

Status = InboxMessage.Status
Came = Mended.Status
HANDLED_WITHIN = timedelta(minutes=10)
GOES_ON_WITHIN = timedelta(seconds=10)  # once everything was handled, and nothing is under way


@dataclass(frozen=True)
class Result:
    """What came of one process."""

    status: Came
    text: str
    state: str = ""


def settle(items: Sequence[Mended], now: datetime) -> list[Mended]:
    """Tell of these items, which were begun, what came of them; those it is not known of stay as they are.
    now: by the database's clock. Returns those that are settled, saved."""
    known = _Known(items)
    settled = []
    for item in items:
        if result := known.result(item, now):
            item.status, item.result, item.to_state = result.status, result.text, result.state
            item.settled_at = now
            settled.append(item)
    Mended.objects.bulk_update(settled, ["status", "result", "to_state", "settled_at"], batch_size=100)
    return settled


class _Known:
    """What the rows tell now, read for all items at once."""

    def __init__(self, items: Sequence[Mended]) -> None:
        watched = [message_id for item in items for message_id in item.watched_ids]
        ids = [item.process_id for item in items if item.process_id]
        self.claims = {row.message_id: row for row in InboxMessage.objects.filter(message_id__in=watched)}
        self.processes = Process.objects.in_bulk(ids)
        self.failing: dict[UUID | None, list[InboxMessage]] = {}
        failing = InboxMessage.objects.in_trouble().filter(saga_id__in=ids)
        for row in failing.order_by("id"):
            self.failing.setdefault(row.saga_id, []).append(row)

    def result(self, item: Mended, now: datetime) -> Result | None:
        """What came of it; None: it is not known yet."""
        process = self.processes.get(item.process_id) if item.process_id else None
        state = process.state if process else ""
        before = item.watched_ids
        claims = [self.claims.get(message_id) for message_id in before]
        for claim in claims:
            if claim and claim.is_in_trouble and claim.attempts > before[claim.message_id]:
                return _failed(claim, state)
        if any(claim is None or claim.status in claim.TROUBLE for claim in claims):
            late = f"not handled within {_minutes(HANDLED_WITHIN)}"
            return Result(Came.UNCHANGED, late, state) if _is_late(item, now) else None
        return self._handled(item, process, [claim for claim in claims if claim], now)

    def _handled(
        self, item: Mended, process: Process | None, claims: list[InboxMessage], now: datetime
    ) -> Result | None:
        """Everything that was sent was handled: it may have failed at the next step, or helped nothing."""
        if process is None:
            return _without_process(claims)
        if item.mending.is_told:
            return _told(claims, process.state)
        for row in self.failing.get(process.pk, ()):
            if item.begun_at is None or row.handled_at >= item.begun_at:
                return _failed(row, process.state)
        if process.version > item.version:
            return Result(Came.RECOVERED, _way(item.from_state, process.state), process.state)
        if process.finished_at:
            return Result(Came.DONE, f"handled; the process is {in_plain(process.state)}", process.state)
        return _not_gone_on(item, process, claims, now)


def _failed(row: InboxMessage, state: str) -> Result:
    return Result(Came.FAILED, f"failed again: {row.type}: {shortened(row.error)}", state)


def _told(claims: Iterable[InboxMessage], state: str) -> Result:
    """The process was told something: the last word is what came of that."""
    [claim] = claims
    if claim.status == Status.IGNORED:
        return Result(Came.REFUSED, f"ignored: {claim.detail}", state)
    detail = f"; {claim.detail}" if claim.detail else ""
    return Result(Came.DONE, _way(claim.from_state, claim.to_state) + detail, claim.to_state)


def _without_process(claims: Iterable[InboxMessage]) -> Result:
    ignored = [claim for claim in claims if claim.status == Status.IGNORED]
    if ignored:
        return Result(Came.UNCHANGED, f"ignored: {ignored[0].detail}")
    return Result(Came.RECOVERED, "handled")


def _not_gone_on(item: Mended, process: Process, claims: list[InboxMessage], now: datetime) -> Result | None:
    """A pause, as of what bakes, is progress; nothing at all is none. What is under way is waited for."""
    saga = find(process.pk)
    waiting = saga.waits_for() if saga else []
    if waiting and all(each.why == Why.SCHEDULED for each in waiting):
        return Result(Came.RECOVERED, f"handled; it waits for {named(waiting)}", process.state)
    if waiting:
        rest = f"handled, but the process still waits for {named(waiting)}"
        return Result(Came.UNCHANGED, rest, process.state) if _is_late(item, now) else None
    if claims and now - max(claim.handled_at for claim in claims) <= GOES_ON_WITHIN:
        return None
    ignored = "; ".join(claim.detail for claim in claims if claim.status == Status.IGNORED)
    rest = f"ignored: {ignored}" if ignored else "handled, but the process has not gone on"
    return Result(Came.UNCHANGED, rest, process.state)


def _is_late(item: Mended, now: datetime) -> bool:
    return item.begun_at is not None and now - item.begun_at > HANDLED_WITHIN


def _way(before: str, after: str) -> str:
    if before == after:
        return f"it has gone on, {in_plain(after)}"
    return f"{in_plain(before)} → {in_plain(after)}"


def _minutes(time: timedelta) -> str:
    return f"{time.total_seconds() / 60:g} minutes"
