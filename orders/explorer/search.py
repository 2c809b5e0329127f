"""Going through all states of the house, breadth first, so that the first way to each is a shortest one."""

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from operator import ge
from typing import Any
from uuid import UUID

import msgspec

from orders.contracts import Cancel, DeadlinePassed, Decide
from orders.explorer import rows
from orders.explorer.invariants import View, broken
from orders.explorer.machine import Effect, Machine, Message, Messages, content_id
from orders.explorer.worlds import Bounds, Explored, Finding, Move, World
from orders.saga import Saga
from pizzahouse.messaging.messages import Message as Contract
from pizzahouse.messaging.messages import kind
from pizzahouse.messaging.models import InboxMessage

Status = InboxMessage.Status
DEADLINE = DeadlinePassed.__name__
VAIN_ASKS = 3  # asking so often when nothing else can happen leads nowhere
CANCEL = Cancel(by="anna", reason="a fly in the soup")
DECISIONS = (Decide("retry", by="otto", reason="so be it"), Decide("write off", by="otto", reason="so be it"))
Known = tuple[World, Bounds]


class Search:
    """Explores one scenario, from its start command on."""

    def __init__(self, machine: Machine, scenario: type[Saga], stock: int) -> None:
        self.machine = machine
        self.scenario = scenario
        self.own = machine.modules.index(scenario._meta.app_label)
        self.stock = stock
        self.states: dict[str, None] = {}
        self.findings: dict[str, Finding] = {}
        self.moves = 0
        # What no saga can ask for again is not lost here; the relay sends it until it is handled.
        self.kept = {DEADLINE, scenario.start_contract().__name__}
        self._reached: dict[World, list[Bounds]] = {}
        self._ways: dict[Known, tuple[Known, Move] | None] = {}
        self._queue: deque[Known] = deque()
        self._checked: set[tuple[str, ...]] = set()

    def run(
        self, command: Contract, bounds: Bounds, most: int = 10_000_000, *, first_only: bool = False
    ) -> Explored:
        """Go through all worlds that can be reached from this start, at most so many. first_only: no
        further than to the first finding."""
        start = World(self.machine.start(), frozenset({self.message(command)}), frozenset(), frozenset())
        self._reach((start, bounds), None)
        while self._queue and len(self._reached) < most and not (first_only and self.findings):
            self._expand(*self._queue.popleft())
        return Explored(
            scenario=self.scenario.label(),
            worlds=len(self._reached),
            moves=self.moves,
            runs=self.machine.runs,
            states=tuple(self.states),
            findings=tuple(self.findings.values()),
            complete=not self._queue,
        )

    def message(self, contract: Contract) -> Message:
        """A message to the scenario from outside."""
        payload = json.dumps(msgspec.to_builtins(contract))
        name, address = type(contract).__name__, self.scenario.address()
        return Message(content_id(name, address, payload), name, address, "", payload)

    # --- Worlds -----------------------------------------------------------------------------------

    def _reach(self, known: Known, way: tuple[Known, Move] | None) -> None:
        """Look at this world later, unless it was reached before with as much left to go wrong."""
        world, left = known
        self.moves += way is not None
        reached = self._reached.setdefault(world, [])
        if any(all(map(ge, before, left)) for before in reached):
            return
        self._ways[known] = way
        self._queue.append(known)
        if not reached:
            view = self.view(world)
            self.states.setdefault(view.state)
            for what, detail in broken(view):
                self._find(what, detail, known)
        reached.append(left)

    def _find(self, what: str, detail: str, known: Known, *last: Move) -> None:
        if what not in self.findings:
            before = self._way(known)
            placed = [move._replace(place=self.place(here, move)) for here, move in before]
            placed += [move._replace(place=self.place(known, move)) for move in last]
            self.findings[what] = Finding(what, detail, tuple(placed))

    def _way(self, known: Known) -> list[tuple[Known, Move]]:
        moves: list[tuple[Known, Move]] = []
        here = self._ways[known]
        while here is not None:
            moves.append(here)
            here = self._ways[here[0]]
        return moves[::-1]

    def place(self, known: Known, move: Move) -> int:
        """Which message a move is of, among those of its type that it could have been of."""
        world = known[0]
        if move.kind == "tell":
            return DECISIONS.index(decision) if (decision := _decision(move.message)) else 0
        could: set[Message] = set(world.waiting if move.kind == "due" else world.flying)
        if move.kind in ("again", "repeat"):
            could = {said.message for _known, said in self._way(known)} | {move.message}
        payloads = sorted((each.payload, each.id) for each in could if each.type == move.message.type)
        return payloads.index((move.message.payload, move.message.id))

    def view(self, world: World) -> View:
        """What the invariants see of it."""
        tables: dict[str, Any] = {}
        for text in world.modules:
            tables |= _tables(text)
        open_ones = [*world.around]
        return View(
            tables=tables,
            scenario=self.scenario,
            under_way=tuple(each.type for each in open_ones),
            to_modules=sum(each.module != self.scenario._meta.app_label for each in open_ones),
            in_the_oven=frozenset(each.id.hex for each in world.waiting),
            stock=self.stock,
        )

    def _saga(self, world: World) -> dict[str, Any]:
        found = _tables(world.modules[self.own]).get(self.scenario._meta.label)
        return found[0] if found else {"state": "new", "deadline": None}

    # --- Moves ------------------------------------------------------------------------------------

    def _expand(self, world: World, left: Bounds) -> None:
        known, state = (world, left), self._saga(world)["state"]
        moved = bool(world.flying)
        for message in world.flying:
            self._deliver(known, message)
            if message.type not in self.kept and (fewer := left.less("losses")):
                gone = world.without(message)._replace(lost=world.lost | {message})
                self._reach((gone, fewer), (known, Move("lose", message)))
        for message in world.waiting:
            if message.type != DEADLINE:
                moved = True
                self._fall_due(known, message, left)
            elif fewer := left.less("deadlines"):
                self._fall_due(known, message, fewer)
        for bound, command in self._sayings(state):
            if fewer := left.less(bound):
                self._try(known, (world, fewer), "tell", self.message(command))
        self._repeat(known, state)
        if not moved:
            self._wait(known, state)

    def _deliver(self, known: Known, message: Message) -> None:
        world, left = known
        for effect in self._try(known, (world.without(message), left), "deliver", message):
            if not effect.mishaps:
                self._crash(known, message, effect)
            if not effect.locked and message.module == self.scenario._meta.app_label:
                self._overlap(known, message, effect)

    def _try(self, known: Known, rest: Known, how: str, message: Message) -> list[Effect]:
        """All that may come of a message in this world; the rest is the world without it."""
        world, left = rest
        effects = self._effects(world, message)
        for number, effect in enumerate(effects):
            fewer = left.less("mishaps", effect.mishaps)
            if fewer is not None:
                move = Move(how, message, number, str(effect))
                self._reach((self._after(world, message, effect), fewer), (known, move))
                self._judge(known, move, effect)
        return effects

    def _effects(self, world: World, message: Message, how: str = "") -> list[Effect]:
        before = world.modules[self.machine.modules.index(message.module)]
        return self.machine.effects(before, message, world.around, how)

    def _judge(self, known: Known, move: Move, effect: Effect) -> None:
        if effect.status in (Status.FAILED, Status.DEAD):
            self._find(f"{move.message.type} fails", effect.error, known, move)
        for table in effect.strangers:
            self._find(f"{move.message.module} changes what is not its own", table, known, move)

    def _after(self, rest: World, message: Message, effect: Effect) -> World:
        """The world after this effect."""
        place = self.machine.modules.index(message.module)
        after, put = _told_apart(rest, effect)
        # What nobody can take back need not wait: when it comes is open anyway.
        waits = {each for each in put if each.waits and each.id.hex in after}
        found = {each for each in rest.lost if each.id in effect.resent}
        new = World(
            modules=(*rest.modules[:place], after, *rest.modules[place + 1 :]),
            flying=_left(rest.flying, effect) | (frozenset(put) - waits) | found,
            waiting=_left(rest.waiting, effect) | waits,
            lost=_left(rest.lost, effect) - found,
        )
        return self._without_deaf(new)

    def _fall_due(self, known: Known, message: Message, left: Bounds) -> None:
        world = known[0]
        sent = world._replace(waiting=world.waiting - {message}, flying=world.flying | {message})
        self._reach((sent, left), (known, Move("due", message)))

    def _sayings(self, state: str) -> Iterator[tuple[str, Contract]]:
        """What people may say: a cancel at any moment, and a decision where one is needed."""
        if state in self.scenario.for_humans:
            yield from (("decisions", decision) for decision in DECISIONS)
        if (Cancel, state) in self.scenario.steps():
            yield "cancels", CANCEL

    def _wait(self, known: Known, state: str) -> None:
        """Nothing else can happen: time passes, until a deadline does."""
        if state in self.scenario.outcomes or state in self.scenario.for_humans:
            return
        deadlines = [each for each in known[0].waiting if each.type == DEADLINE]
        if not deadlines:
            self._find("it is stuck", f"in state {state}, with nothing under way and no deadline", known)
        for message in deadlines:
            if json.loads(message.payload)["asked"] >= VAIN_ASKS:
                self._find("it asks again and again", f"in state {state}, and nobody answers", known)
            else:
                self._fall_due(known, message, known[1])

    # --- What makes no difference, and is checked for it ------------------------------------------

    def _without_deaf(self, world: World) -> World:
        """Messages that nobody will ever listen to are handled here, and must change nothing: those to a
        saga that has ended, and deadlines that it has left behind."""
        saga = self._saga(world)
        ended = saga["state"] in self.scenario.outcomes
        address = self.scenario.address()
        deaf = {
            each
            for each in world.flying
            if each.destination == address
            and (ended or (each.type == DEADLINE and each.id.hex != saga["deadline"]))
        }
        for message in deaf:
            before = world.modules[self.own]
            for effect in self._effects(world.without(message), message):
                if effect.after != before or effect.put or effect.status != Status.IGNORED:
                    return world  # somebody listens after all
        return world._replace(flying=world.flying - deaf) if deaf else world

    def _crash(self, known: Known, message: Message, whole: Effect) -> None:
        """A process that ends at any commit leaves nothing half done, and a message that comes again
        changes nothing: checked once for each handler and each kind of outcome."""
        kind_of_it = (message.handler, whole.status, whole.step, *(each.type for each in whole.put))
        if kind_of_it in self._checked:
            return
        self._checked.add(kind_of_it)
        rest = known[0].without(message)
        before = rest.modules[self.machine.modules.index(message.module)]
        move = Move("deliver", message)
        for crash in self.machine.crashes(before, message, rest.around):
            if crash.left != before:
                detail = f"{message.type}, at its commit {crash.number + 1}"
                self._find("a crash leaves something half done", detail, known, move)
            if (crash.again.after, crash.again.put) != (whole.after, whole.put):
                self._find("a crash makes a difference", message.type, known, move)
        after = self._after(rest, message, whole)
        for again in self._effects(after, message, "claimed"):
            if (again.status, again.after, again.put) != ("again", whole.after, ()):
                twice = (move, Move("again", message, 0, str(again)))
                self._find("a message is handled twice", message.type, known, *twice)

    # --- What is said twice, and what is begun at once --------------------------------------------

    def _repeat(self, known: Known, state: str) -> None:
        """An event may be said a second time, as a new message, by a module that is not sure."""
        world, left = known
        fewer = left.less("duplicates")
        if fewer is None:
            return
        said = {move.message for _known, move in self._way(known) if move.kind == "deliver"}
        for message in said:
            if kind(message.type) == "event" and self._is_listened_to(message, state):
                second = _new(message, world)
                effects = self._effects(world, second)
                if any(effect.status != Status.IGNORED for effect in effects):
                    self._try(known, (world, fewer), "repeat", second)

    def _is_listened_to(self, message: Message, state: str) -> bool:
        return message.type != DEADLINE and any(
            on.__name__ == message.type and source == state for on, source in self.scenario.steps()
        )

    def _overlap(self, known: Known, message: Message, stale: Effect) -> None:
        """A step that does not lock its saga may be begun before another ends, and then write over what
        that one wrote."""
        world, left = known
        others = [(world.without(each), left, "deliver", each) for each in world.flying - {message}]
        for bound, saying in self._sayings(self._saga(world)["state"]):
            if fewer := left.less(bound):
                others.append((world, fewer, "tell", self.message(saying)))
        for rest, fewer, how, other in others:
            if other.destination != message.destination:
                continue
            for number, effect in enumerate(self._effects(rest, other)):
                between = self._after(rest, other, effect)
                middle = (between, fewer)
                self._reach(middle, (known, Move(how, other, number, str(effect))))
                if middle in self._ways and message in between.flying:
                    merged = rows.written_over(
                        world.modules[self.own], stale.after, between.modules[self.own]
                    )
                    late = self._after(between.without(message), message, replace(stale, after=merged))
                    self._reach((late, fewer), (middle, Move("overlap", message, 0, str(stale))))


def _decision(message: Message) -> Decide | None:
    if message.type != Decide.__name__:
        return None
    return msgspec.json.decode(message.payload, type=Decide)


def _left(messages: Messages, effect: Effect) -> Messages:
    return frozenset(each for each in messages if each.id not in effect.gone) if effect.gone else messages


def _new(message: Message, world: World) -> Message:
    """A message that says the same, and is not there yet."""
    there, number = {each.id for each in world.around}, 1_000
    while (second := message.another(number)).id in there:
        number += 1
    return second


def _told_apart(rest: World, effect: Effect) -> tuple[str, tuple[Message, ...]]:
    """New messages that say the same as one that is still there get another id."""
    there = {each.id for each in rest.around} - effect.gone
    if there.isdisjoint(each.id for each in effect.put):
        return effect.after, effect.put
    names: dict[UUID, UUID] = {}
    put = []
    for each in effect.put:
        own, number = each, 100
        while own.id in there:
            own, number = each.another(number), number + 1
        names[each.id] = own.id
        put.append(own)
    return rows.rename(effect.after, names), tuple(put)


@lru_cache(maxsize=200_000)
def _tables(text: str) -> dict[str, Any]:
    tables: dict[str, Any] = json.loads(text)
    return tables
