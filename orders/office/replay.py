"""Walking a process's history again: what `regression.as_test` writes into a test."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec

from orders.explorer.memory import in_memory
from orders.office.likeness import bind, is_like, put_in
from orders.saga import Saga, scenarios
from pizzahouse.messaging.envelope import Envelope, Letter
from pizzahouse.messaging.handling import hand, handlers
from pizzahouse.messaging.models import InboxMessage, OutboxMessage

Status = InboxMessage.Status
SAGA = UUID(int=1)
FAILED = str(Status.FAILED)


@dataclass(frozen=True)
class Put:
    """A message that was put. Its number stands for its id."""

    message: int
    type: str
    to: str
    payload: Any


@dataclass(frozen=True)
class Told:
    """A message that came to the process, and what came of it. One that failed must be handled now.
    deadline: it was that of the state it came in. settled: what modules had handled of the process's
    messages since the last one."""

    message: int
    type: str
    payload: Any
    status: str = "done"  # or ignored, or failed
    step: str = ""
    from_state: str = ""
    to_state: str = ""
    deadline: bool = False
    settled: Sequence[int] = ()
    puts: Sequence[Put] = ()

    def __str__(self) -> str:
        return _in_words(self.status, self.step, self.from_state, self.to_state)


@dataclass
class Replayed:
    """One that was told again, and what came of it now."""

    told: Told
    difference: str
    id: UUID
    same: list[tuple[Put, UUID]] = field(default_factory=list)  # what was put then and now


def replay(scenario: str, history: Sequence[Told]) -> list[str]:
    """Tell a new process of this scenario, on an empty database, what this one was told, in the same order;
    what comes of it otherwise than then, in words. Raises KeyError where there is no such scenario."""
    chosen = {each.label(): each for each in scenarios()}[scenario]
    with in_memory():
        return list(Replay(chosen).differences(history))


class Replay:
    """A process that is told a history again."""

    def __init__(self, scenario: type[Saga]) -> None:
        self.scenario = scenario
        self.ids: dict[str, str] = {}  # what stands for an id in the history, and the id that it is now

    def differences(self, history: Sequence[Told]) -> Iterator[str]:
        """A line for each difference, in the order of the history."""
        replayed = [self._tell(each) for each in history]
        for number, each in enumerate(replayed, 1):
            found = [each.difference] if each.difference else self._puts(each)
            yield from (f"{number}. {each.told.type}: {what}" for what in found)

    def _tell(self, told: Told) -> Replayed:
        self._settle(told.settled)
        message_id = self._id(told)
        if f"{self.scenario.address()}.{told.type}" not in handlers():
            return Replayed(told, f"was {told}, and nothing handles it any more", message_id)
        envelope = Envelope(message_id, told.type, self.scenario.address(), saga=SAGA)
        hand(Letter(envelope, msgspec.json.encode(put_in(self.ids, told.payload))))
        claim = InboxMessage.objects.get(message_id=message_id, handler=envelope.actor_name)
        return Replayed(told, _difference(told, claim), message_id, self._bind(told, message_id))

    def _id(self, told: Told) -> UUID:
        """A deadline counts where it is the process's own; what it told itself has the id it put now."""
        if told.deadline:
            saga = self.scenario._default_manager.filter(pk=SAGA).first()
            if saga is not None and saga.deadline:
                return saga.deadline
        return self._now(told.message)

    def _now(self, message: int) -> UUID:
        stands = str(UUID(int=message))
        return UUID(self.ids.get(stands, stands))

    def _settle(self, messages: Sequence[int]) -> None:
        """The modules have handled these."""
        rows = OutboxMessage.objects.filter(id__in=[self._now(each) for each in messages])
        InboxMessage.objects.bulk_create(
            [
                InboxMessage(
                    message_id=row.id,
                    handler=f"{row.destination}.{row.type}",
                    type=row.type,
                    saga_id=SAGA,
                    status=Status.DONE,
                )
                for row in rows
            ],
            ignore_conflicts=True,
        )

    def _bind(self, told: Told, message_id: UUID) -> list[tuple[Put, UUID]]:
        """What was put then, beside what is put now; from now on the ids of the one stand for the other's."""
        bind(self.ids, told.payload, put_in(self.ids, told.payload))  # what came from outside is itself
        rows: dict[tuple[str, str], list[OutboxMessage]] = {}
        for row in _put_on(message_id):
            rows.setdefault((row.type, row.destination), []).append(row)
        same, unlike = [], []
        for each in told.puts:
            alike = rows.get((each.type, each.to), [])
            then = put_in(self.ids, each.payload)
            place = next((place for place, row in enumerate(alike) if is_like(then, row.payload)), None)
            if place is None:
                unlike.append((each, alike))
            else:
                same.append(self._bound(each, alike.pop(place)))
        return same + [self._bound(each, rest.pop(0)) for each, rest in unlike if rest]

    def _bound(self, put: Put, row: OutboxMessage) -> tuple[Put, UUID]:
        bind(self.ids, str(UUID(int=put.message)), str(row.id))
        bind(self.ids, put.payload, row.payload)
        return put, row.id

    def _puts(self, replayed: Replayed) -> Iterator[str]:
        """Looked at in the end: what was put and taken back later is in no history. What failed has put
        nothing then, and may now."""
        if replayed.told.status == FAILED:
            return
        rows = {row.id: row for row in _put_on(replayed.id)}
        same = [(put, rows.pop(row_id)) for put, row_id in replayed.same if row_id in rows]
        there = [put for put, _row in same]
        missing = Counter((put.type, put.to) for put in replayed.told.puts if put not in there)
        for (name, to), count in missing.items():
            yield f"put {_times(count)}{name} to {to}, and does not any more"
        for (name, to), count in Counter((row.type, row.destination) for row in rows.values()).items():
            yield f"puts {_times(count)}{name} to {to}, and did not"
        for put, row in same:
            then = put_in(self.ids, put.payload)
            if not is_like(then, row.payload):
                yield f"puts {put.type} with other values: was {then}, is {row.payload}"


def _put_on(message_id: UUID) -> Iterator[OutboxMessage]:
    """But for deadlines: when they are set anew, and how long they are, the clock and the settings say."""
    rows = OutboxMessage.objects.filter(saga_id=SAGA, causation_id=message_id)
    return rows.exclude(type="DeadlinePassed").order_by("id").iterator()


def _difference(told: Told, claim: InboxMessage) -> str:
    if claim.status in claim.TROUBLE:
        before = "failed, and still" if told.status == FAILED else f"was {told}, and now"
        return f"{before} fails: {claim.error}"
    now = (claim.status, claim.step, claim.from_state, claim.to_state)
    if told.status == FAILED or now == (told.status, told.step, told.from_state, told.to_state):
        return ""
    why = f": {claim.detail}" if claim.status == Status.IGNORED else ""
    return f"was {told}, is {_in_words(*now)}{why}"


def _in_words(status: str, step: str, from_state: str, to_state: str) -> str:
    if status == Status.IGNORED:
        return f"ignored in {from_state}"
    return "failed" if status == FAILED else f"{step} {from_state} → {to_state}"


def _times(count: int) -> str:
    return f"{count} x " if count > 1 else ""
