"""Running one message at its real handler, on the rows of its module."""

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch
from uuid import NAMESPACE_URL, UUID, uuid5

from django.db import connection

from orders.explorer import rows
from orders.explorer.memory import Crash, Memory
from orders.explorer.rows import Contents, Row
from pizzahouse.messaging.handling import deliver, handlers
from pizzahouse.messaging.models import InboxMessage

SAGA = UUID(int=1)
FIRST_ENTITY = 1_000  # ids of rows that steps and handlers make are small numbers
KERNEL = ("messaging_outboxmessage", "messaging_inboxmessage")
HAPPENS, DOES_NOT = 0.0, 0.999_999


@dataclass(frozen=True, slots=True)
class Message:
    """A message that was put. Its id says what it is, so that the same is the same whatever led to it."""

    id: UUID
    type: str
    destination: str
    reply_to: str
    payload: str  # JSON
    waits: bool = False  # it was put with a delay

    def __hash__(self) -> int:
        return hash(self.id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and self.id == other.id

    @property
    def handler(self) -> str:
        """The name of its handler."""
        return f"{self.destination}.{self.type}"

    @property
    def module(self) -> str:
        """Whose it is."""
        return self.destination.partition(".")[0]

    def envelope(self) -> dict[str, Any]:
        """As it travels."""
        own = {"message_id": str(self.id), "type": self.type, "destination": self.destination}
        return {**own, "reply_to": self.reply_to, "saga": str(SAGA)}

    def row(self, *, waits: bool) -> Row:
        """Its row in the outbox: waiting for its time, or sent."""
        due = rows.FUTURE if waits else None
        return {
            "id": self.id.hex,
            "type": self.type,
            "destination": self.destination,
            "reply_to": self.reply_to,
            "saga_id": SAGA.hex,
            "trace": "",
            "payload": self.payload,
            "created_at": rows.PAST,
            "due_at": due,
            "available_at": due,
            "sent_at": None if waits else rows.PAST,
            "sends": int(not waits),
        }

    def another(self, number: int) -> "Message":
        """A second message that says the same."""
        return replace(self, id=content_id(self.type, self.destination, self.payload, number))


def content_id(kind: str, destination: str, payload: str, number: int = 0) -> UUID:
    """The id of the first message that says this, or of a further one."""
    return uuid5(NAMESPACE_URL, f"{kind} {destination} {payload} {number}")


Messages = frozenset[Message]


@dataclass(frozen=True, slots=True)
class Around:
    """The other messages of the saga that are not handled: waiting for their time, on the way, or lost."""

    waiting: Messages = frozenset()
    flying: Messages = frozenset()
    lost: Messages = frozenset()

    def __iter__(self) -> Iterator[Message]:
        yield from self.waiting
        yield from self.flying
        yield from self.lost


class Looked:
    """Which other messages a run asked the outbox and the inbox for: what comes of it depends on them.
    It is called with each statement (`connection.execute_wrapper`)."""

    def __init__(self, own: UUID) -> None:
        self.own = own
        self.ids: set[UUID] = set()
        self.types: set[str] = set()
        self.all = False

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if any(table in sql for table in KERNEL) and not sql.startswith("INSERT"):
            asked = rows.ids(" ".join(map(str, params or ())))
            if SAGA in asked and '"type" IN' in sql:
                self.types |= {each for each in params if isinstance(each, str)}
            elif SAGA in asked or not asked:
                self.all = True
            elif self.own not in asked:
                self.ids |= asked
        return execute(sql, params, many, context)

    def part(self, around: Around) -> Around:
        """Of those around, the ones that were asked for."""
        if self.all:  # to send it again; what is on the way would come twice, which makes no difference
            return replace(around, flying=self._named(around.flying))
        if not self.ids and not self.types:
            return Around()
        return Around(*(self._named(each) for each in (around.waiting, around.flying, around.lost)))

    def _named(self, messages: Messages) -> Messages:
        return frozenset(each for each in messages if each.id in self.ids or each.type in self.types)


@dataclass(frozen=True, slots=True)
class Effect:
    """What came of a message."""

    status: str  # of the inbox; "again" where it had been handled before
    after: str  # the module's rows, as a text
    put: tuple[Message, ...] = ()
    gone: frozenset[UUID] = frozenset()  # withdrawn, or taken back
    resent: frozenset[UUID] = frozenset()
    mishaps: int = 0
    locked: bool = True
    step: str = ""
    state: str = ""
    error: str = ""
    strangers: tuple[str, ...] = ()  # tables of other modules that it changed

    def __str__(self) -> str:
        if self.step:
            return f"{self.step} → {self.state}"
        return "" if self.status == InboxMessage.Status.DONE else self.status


@dataclass
class Trial:
    """The draws of one run: which mishaps happen, of those that can."""

    wanted: tuple[bool, ...] = ()
    drawn: list[bool] = field(default_factory=list)

    def draw(self) -> float:
        """In the place of `random.random`."""
        number = len(self.drawn)
        happens = number < len(self.wanted) and self.wanted[number]
        self.drawn.append(happens)
        return HAPPENS if happens else DOES_NOT

    def others(self) -> list["Trial"]:
        """The trials in which one more of its draws goes the other way."""
        return [Trial((*self.drawn[:n], True)) for n in range(len(self.wanted), len(self.drawn))]


@dataclass(frozen=True, slots=True)
class Crashed:
    """What was left when a process ended before a commit, and what came of the message afterwards."""

    number: int  # of the commit, from 0
    left: str
    again: Effect


class Machine:
    """Runs messages, each pair of rows and message once."""

    def __init__(self, memory: Memory, modules: tuple[str, ...]) -> None:
        self.memory = memory
        self.modules = modules
        self.runs = 0
        self._known: dict[tuple[str, Message, str], list[tuple[Looked, Around, list[Effect]]]] = {}

    def start(self) -> tuple[str, ...]:
        """The rows of each module, as they are in the database now."""
        return tuple(rows.ordered(rows.write(self._read(module))) for module in self.modules)

    def effects(self, before: str, message: Message, around: Around, how: str = "") -> list[Effect]:
        """What may come of a message at these rows of its module: one effect for each way that chance may
        go. how: "claimed" where it was handled before."""
        known = self._known.setdefault((before, message, how), [])
        for looked_at, there, effects in known:
            if looked_at.part(around) == there:
                return effects
        looked = Looked(message.id)
        effects, untried = [], [Trial()]
        while untried:
            trial = untried.pop()
            self._load(before, message, around, how)
            effects.append(self._finish(before, message, around, trial, looked))
            untried += trial.others()
        known.append((looked, looked.part(around), effects))
        return effects

    def crashes(self, before: str, message: Message, around: Around) -> Iterator[Crashed]:
        """Let the process end before each commit of a run in turn, and deliver the message again."""
        number, crashed = 0, True
        while crashed:
            self._load(before, message, around, "")
            self.memory.commits, self.memory.crash_at = 0, number
            try:
                self._deliver(message, Trial(), redelivered=False)
                crashed = False
            except Crash:
                left = rows.ordered(rows.write(self._read(message.module)))
                self.memory.crash_at = None
                again = self._finish(before, message, around, Trial(), redelivered=True)
                yield Crashed(number, left, again)
            finally:
                self.memory.crash_at = None
            number += 1

    # --- One run ----------------------------------------------------------------------------------

    def _load(self, before: str, message: Message, around: Around, how: str) -> None:
        contents: Contents = {table: [] for module in self.modules for table in rows.tables(module)}
        contents |= rows.parse(before, rows.tables(message.module))
        others = [each.row(waits=each in around.waiting) for each in around if each != message]
        contents[rows.outbox()] = [message.row(waits=False), *others]
        contents[rows.inbox()] = []
        self.memory.load(contents)
        if how:
            claim = {"message_id": message.id, "handler": message.handler, "type": message.type}
            InboxMessage.objects.create(**claim, saga_id=SAGA, status="done")

    def _deliver(self, message: Message, trial: Trial, *, redelivered: bool) -> None:
        self.runs += 1
        arguments = {"envelope": message.envelope(), "payload": json.loads(message.payload)}
        with patch.object(random, "random", trial.draw):
            deliver(handlers()[message.handler], redelivered=redelivered, **arguments)

    def _read(self, module: str) -> Contents:
        return {table: self.memory.read(table) for table in rows.tables(module)}

    def _finish(
        self,
        before: str,
        message: Message,
        around: Around,
        trial: Trial,
        looked: Looked | None = None,
        *,
        redelivered: bool = False,
    ) -> Effect:
        """Deliver it, and see what came of it."""
        self.memory.locks = 0
        with connection.execute_wrapper(looked or Looked(message.id)):
            self._deliver(message, trial, redelivered=redelivered)
        claims = {UUID(row["message_id"]): row for row in self.memory.read(rows.inbox())}
        own = claims.pop(message.id)
        there = {each.id: each for each in around}
        outbox = {UUID(row["id"]): row for row in self.memory.read(rows.outbox())}
        resent = {each.id for each in around.lost if each.id in outbox and not outbox[each.id]["sent_at"]}
        new = [row for key, row in outbox.items() if key not in there and key != message.id]
        known = f"{before} {message.payload} {' '.join(map(str, [message.id, SAGA, *there]))}"
        after, put = self._named(message.module, new, known)
        return Effect(
            status="again" if own["repeats"] else own["status"],
            after=after,
            put=put,
            gone=frozenset({*claims, *(there.keys() - outbox.keys())}),
            resent=frozenset(resent),
            mishaps=sum(trial.drawn),
            locked=self.memory.locks > 0,
            step=own["step"],
            state=own["to_state"],
            error=own["error"],
            strangers=tuple(self._strangers(message.module)),
        )

    def _strangers(self, module: str) -> Iterator[str]:
        for other in self.modules:
            if other != module:
                yield from (table.label for table in rows.tables(other) if self.memory.read(table))

    def _named(self, module: str, new: list[Row], known: str) -> tuple[str, tuple[Message, ...]]:
        """The module's rows and the new messages, with ids that say what they are of."""
        text = rows.write(self._read(module))
        letters = {UUID(row["id"]): row for row in new}
        familiar = rows.ids(known)
        payloads = " ".join(row["payload"] for row in new)
        entities = sorted(rows.ids(f"{text} {payloads}") - familiar - letters.keys())
        names = dict(zip(entities, self._free(module, familiar), strict=False))
        put: list[Message] = []
        for key, row in letters.items():
            payload = rows.rename(json.dumps(json.loads(row["payload"])), names)
            names_of_it = (row["type"], row["destination"], row["reply_to"])
            first = Message(key, *names_of_it, payload, waits=row["due_at"] is not None)
            alike = sum((each.handler, each.payload) == (first.handler, payload) for each in put)
            put.append(first.another(alike))
            names[key] = put[-1].id
        return rows.ordered(rows.rename(text, names)), tuple(put)

    def _free(self, module: str, familiar: Iterable[UUID]) -> Iterator[UUID]:
        """Ids that are not taken yet."""
        first = FIRST_ENTITY * (1 + self.modules.index(module))
        taken = [each.int for each in familiar if first <= each.int < first + FIRST_ENTITY]
        number = max(taken, default=first)
        while True:
            number += 1
            yield UUID(int=number)
