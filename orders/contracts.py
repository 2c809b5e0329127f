"""What the process manager can be asked, and what it tells itself."""

from typing import Annotated, Literal

from msgspec import Meta

from pizzahouse.messaging.messages import Command, Event
from waiter.contracts import TableName, Wish

Reason = Annotated[str, Meta(min_length=1, max_length=500)]
Person = Annotated[str, Meta(min_length=1, max_length=150)]


class StartTableService(Command, frozen=True):
    """Serve the party at this table. Without a wish the guests choose from the menu; in person: they are
    human, and are asked."""

    table: TableName
    wish: tuple[Wish, ...] = ()
    in_person: bool = False


class TableServiceStarted(Event, frozen=True):
    """A party was seated."""

    table: TableName


# --- To any process -------------------------------------------------------------------------------


class Cancel(Command, frozen=True):
    """Call the process off: what it has done so far is undone."""

    by: Person
    reason: Reason


class Decide(Command, frozen=True):
    """What the manager has decided, where the process needs one: try again what it waited for, or write
    off what it did not get."""

    decision: Literal["retry", "write off"]
    by: Person
    reason: Reason


class DeadlinePassed(Event, frozen=True):
    """It has waited in this state for so long, in seconds, and has asked again so often."""

    state: str
    within: float
    asked: int = 0
