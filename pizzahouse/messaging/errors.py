"""What can go wrong with a message. Each docstring is the message: what happened, and what to do."""

from django.utils.text import Truncator

SHORT = 150  # characters of an error in a list


def shortened(text: str) -> str:
    """An error as one line of a list."""
    return Truncator(text.partition("\n")[0]).chars(SHORT)


class MessagingError(Exception):
    """Something is wrong with a message."""

    def __init__(self, detail: str = "") -> None:
        summary = " ".join((self.__doc__ or "").split())
        super().__init__(f"{summary} ({detail})" if detail else summary)


class OutsideTransaction(MessagingError):
    """A message can only be put inside a transaction, so that it is sent if and only if the change it
    tells of is saved. Wrap both in `with transaction.atomic():`."""


class InvalidMessage(MessagingError):
    """The message is not what its contract says. Correct the value named here and send it again."""


class UnknownMessage(MessagingError):
    """No contract of this name is installed here. Deploy the code that knows it, then retry the message."""


class UnknownDestination(MessagingError):
    """Nobody handles this message at this destination. Correct the destination, or write its handler:
    a function with @handles(...) in the owner's actors.py."""


class DuplicateContract(MessagingError):
    """Two contracts, or two handlers of one contract, share a name. Rename one of them."""


class AlreadyHandled(MessagingError):
    """This message was handled before; nothing was changed. No action is needed."""


class WorkerDied(MessagingError):
    """The worker that handled this message ended before the message did: it was killed, ran out of memory,
    or the message makes it crash. Look at the worker's last log lines, mend the cause, then retry."""


class NotDead(MessagingError):
    """This message is not dead any more: somebody was faster, and sent it again, replaced or discarded it.
    Nothing was changed. Look at what came of it."""


class Unreadable(MessagingError):
    """This message has no envelope that can be read, so that it cannot be sent again, with whatever content.
    Look at it as it arrived, have its sender put it anew if it matters, then discard it."""


class NotSkippable(MessagingError):
    """This step cannot be skipped. Nothing was changed; look at what the process waits for now."""


class NoSuchGroup(MessagingError):
    """No group of messages has this key. Go back to the list of the groups, and choose one there."""
