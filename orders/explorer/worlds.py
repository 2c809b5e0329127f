"""States of the whole house, and what leads from one to the next."""

from dataclasses import dataclass
from typing import NamedTuple

from orders.explorer.machine import Around, Message, Messages


class Bounds(NamedTuple):
    """How often what may go wrong goes wrong on one way: each so often, and all together."""

    duplicates: int = 1
    losses: int = 1
    mishaps: int = 2
    deadlines: int = 2
    cancels: int = 1
    decisions: int = 2
    troubles: int = 3  # all of the above, but for decisions

    def less(self, name: str, by: int = 1) -> "Bounds | None":
        """What is left after so many; None where there is not so much left."""
        left = self._replace(**{name: getattr(self, name) - by})
        if name != "decisions":
            left = left._replace(troubles=left.troubles - by)
        return left if min(left) >= 0 else None


BOUNDED = {
    "duplicates": "events that are said twice",
    "losses": "messages that are lost, until somebody asks again",
    "mishaps": "pizzas that burn, cards that are declined, guests who leave",
    "deadlines": "deadlines that pass although something else could happen",
    "cancels": "times that somebody cancels",
    "decisions": "decisions of the manager",
    "troubles": "of all these together, but for decisions",
}


class World(NamedTuple):
    """A state of the whole house, but for what may still go wrong."""

    modules: tuple[str, ...]  # the rows of each, as texts
    flying: Messages  # with the broker
    waiting: Messages  # for their time; they could be taken back
    lost: Messages  # they will not come unless they are sent again

    @property
    def around(self) -> Around:
        """The messages that were not handled."""
        return Around(self.waiting, self.flying, self.lost)

    def without(self, message: Message) -> "World":
        """The same, but for one that is on its way."""
        return self._replace(flying=self.flying - {message})


class Move(NamedTuple):
    """One thing that happens."""

    kind: str  # a key of KINDS
    message: Message
    number: int = 0  # which of the effects that chance allows
    note: str = ""
    place: int = 0  # which message it is, of those of its type that it could have been

    def __str__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        return KINDS[self.kind].format(self.message.type) + note

    @property
    def written(self) -> tuple[str, str, int, int]:
        """As it stands in a test."""
        return self.kind, self.message.type, self.place, self.number


KINDS = {
    "deliver": "{} comes",
    "due": "{} falls due, and is sent",
    "lose": "{} is lost",
    "tell": "somebody says {}",
    "again": "{} comes again, under the same id",
    "repeat": "{} is said again, and comes",
    "overlap": "{}, which was begun before the last one ended, is done",
}


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, and a shortest way there."""

    what: str
    detail: str
    way: tuple[Move, ...]

    @property
    def messages(self) -> int:
        """How many messages are handled on the way."""
        return sum(move.kind not in ("due", "lose") for move in self.way)


@dataclass(frozen=True)
class Explored:
    """What came of a search."""

    scenario: str
    worlds: int
    moves: int
    runs: int  # of handlers
    states: tuple[str, ...]  # of the saga
    findings: tuple[Finding, ...]
    complete: bool
