"""Sending again what failed, carefully: one message, then a few, then the rest; and what comes of it."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from orders.saga import Saga, find
from pizzahouse.messaging import outstanding, relay
from pizzahouse.messaging.models import InboxMessage

Status = InboxMessage.Status
STAGES = (1, 5)  # so many first; when none of them fails again, the rest
LOOK_SECONDS = 0.1
ADVANCE_SECONDS = 10.0  # how long a saga may take to go on, once its message is handled


@dataclass
class Retried:
    """A message that was sent again, and what came of it."""

    row: InboxMessage  # as it was before
    saga: Saga | None  # the same
    now: InboxMessage | None = None
    after: Saga | None = None

    @property
    def failed(self) -> bool:
        """Whether it failed again."""
        return self.now is not None and self.now.status in (Status.FAILED, Status.DEAD)

    @property
    def advanced(self) -> bool:
        """Whether its saga has made a step since; without a saga, whether it was handled."""
        if self.saga is None:
            return self.now is not None and not self.failed and self.now.status == Status.DONE
        return self.after is not None and self.after.version > self.saga.version

    @property
    def may_advance(self) -> bool:
        """Whether its saga may still go on by itself."""
        handled = self.now is not None and self.now.status == Status.DONE
        running = self.saga is not None and self.saga.outcome is None
        return handled and running and not self.advanced

    @property
    def result(self) -> str:
        """What came of it, in words."""
        if self.now is None:
            return "not handled yet"
        if self.failed:
            return f"failed again: {self.now.error.partition(chr(10))[0]}"
        if self.now.status == Status.IGNORED:
            return f"ignored: {self.now.detail}"
        if self.saga is None:
            return f"handled: {self.after} has begun" if self.after else "handled"
        return self._advance(self.saga)

    def _advance(self, saga: Saga) -> str:
        if saga.outcome:
            return f"handled; its saga was {saga.state} before"
        if not self.advanced:
            return "handled, but its saga has not gone on yet"
        return f"advanced: {saga.state} → {self.after.state}" if self.after else "handled"

    def as_json(self) -> dict[str, Any]:
        """In plain values."""
        return {
            "message_id": str(self.row.message_id),
            "type": self.row.type,
            "saga": self.row.saga_id and str(self.row.saga_id),
            "table": self.saga.table if self.saga else None,
            "advanced": self.advanced,
            "failed": self.failed,
            "result": self.result,
        }


@dataclass
class Report:
    """Everything that was sent again, how much was left, and what cannot be sent."""

    retried: list[Retried] = field(default_factory=list)
    left: int = 0
    unreadable: list[InboxMessage] = field(default_factory=list)


def retry(rows: Sequence[InboxMessage], wait: float) -> Report:
    """Send these again, stage by stage, and wait for what comes of each stage, so many seconds at the most.
    It stops where one fails again, or is not handled in time."""
    readable: list[InboxMessage] = []
    report = Report()
    for row in rows:
        (readable if relay.is_kept_as_it_came(row) else report.unreadable).append(row)
    for stage in _stages(readable):
        now = InboxMessage.objects.filter(pk__in=[row.pk for row in stage]).order_by("id")
        tried = [Retried(row, _saga(row)) for row in now]
        outstanding.resend(each.row.message_id for each in tried)
        _watch(tried, wait)
        report.retried += tried
        if any(each.failed or each.now is None for each in tried):
            break
    report.left = len(readable) - len(report.retried)
    return report


def _saga(row: InboxMessage) -> Saga | None:
    return find(row.saga_id) if row.saga_id else None


def _stages(rows: list[InboxMessage]) -> Iterator[list[InboxMessage]]:
    for size in (*STAGES, len(rows)):
        stage, rows = rows[:size], rows[size:]
        if stage:
            yield stage


def _watch(tried: list[Retried], wait: float) -> None:
    """Look until each is handled, or has failed, and its saga has gone on, or time is up."""
    deadline = time.monotonic() + wait
    while _look(tried) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    deadline = min(deadline, time.monotonic() + ADVANCE_SECONDS)
    while _look_at_sagas(tried) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)


def _look(tried: list[Retried]) -> bool:
    """True while some are open."""
    open_ones = {each.row.pk: each for each in tried if each.now is None}
    for row in InboxMessage.objects.filter(pk__in=open_ones):
        each = open_ones[row.pk]
        if row.status in (Status.DONE, Status.IGNORED) or row.attempts > each.row.attempts:
            each.now = row
    return any(each.now is None for each in tried)


def _look_at_sagas(tried: list[Retried]) -> bool:
    """True while a saga whose message was handled has not gone on."""
    for each in tried:
        if each.saga is None and each.now is not None:
            each.after = _saga(each.row)  # it may have been what begins it
        elif each.saga is not None and each.may_advance:
            each.after = type(each.saga)._default_manager.filter(pk=each.saga.pk).first()
    return any(each.may_advance for each in tried)
