"""What the process manager can be asked, and what it tells itself."""

from pizzahouse.messaging.messages import Command, Event
from waiter.contracts import TableName, Wish


class StartTableService(Command, frozen=True):
    """Serve the party at this table. Without a wish the guests choose from the menu."""

    table: TableName
    wish: tuple[Wish, ...] = ()


class TableServiceStarted(Event, frozen=True):
    """A party was seated."""

    table: TableName
