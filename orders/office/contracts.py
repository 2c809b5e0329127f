"""What the office tells itself."""

from uuid import UUID

from pizzahouse.messaging.messages import Command


class MendOn(Command, frozen=True):
    """Look what came of a mending so far, and go on with it, unless it was told to go on since (turn). pause:
    in seconds, until it is looked at again where nothing has changed."""

    mending: UUID
    turn: int
    pause: float = 0.2
