"""`@handles(DoPizza)`: a command in, events out. The one place where a message meets its handler."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from threading import Event as Flag
from typing import Any, TypeVar
from uuid import NAMESPACE_URL, UUID, uuid5

import dramatiq
import msgspec
import structlog
from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction
from structlog.contextvars import bound_contextvars

from pizzahouse.messaging import failures, inbox, metrics, outbox, relay, tracing
from pizzahouse.messaging.envelope import Envelope, Letter, queue_name, unseal
from pizzahouse.messaging.errors import (
    AlreadyHandled,
    DuplicateContract,
    InvalidMessage,
    UnknownDestination,
    UnknownMessage,
)
from pizzahouse.messaging.inbox import Outcome, Status
from pizzahouse.messaging.messages import Command, Event, Message, decode, encode, owner
from pizzahouse.messaging.models import InboxMessage, OutboxMessage

log = structlog.get_logger(__name__)
PAUSE_WITHOUT_DATABASE = 1.0  # seconds
LOSSES = (OperationalError, InterfaceError)
# Deadlock, serialization failure, lock not available (PostgreSQL's SQLSTATEs); SQLite has words only.
CONTENTION = ("40P01", "40001", "55P03")
MOST_COLLISIONS = 5  # in one delivery; then it goes back to the broker
OLD_SECONDS = 3600.0
closing = Flag()  # set when this process shuts down: nobody pauses any more


class After(msgspec.Struct, frozen=True):
    """An event that is put now and sent later: a pause that holds no thread."""

    seconds: float
    event: Event


Answer = Event | After | Outcome | Iterable[Event | After] | None
Function = TypeVar("Function", bound=Callable[..., Answer])


@dataclass(frozen=True, slots=True)
class Handler:
    """A function that handles one contract at one address."""

    name: str  # of its Dramatiq actor
    contract: type[Message]
    function: Callable[..., Answer]
    refused: Callable[..., Answer] | None = None  # instead, where the database refuses what that did


_handlers: dict[str, Handler] = {}


def handles(
    contract: type[Message], *, at: str = "", refused: Callable[..., Answer] | None = None
) -> Callable[[Function], Function]:
    """Make a function the handler of a contract: an actor on the queue of the module it belongs to, or at
    another address. It gets the message and answers with an event, several, `After(seconds, event)`, or
    nothing; whatever it changes is committed together with its answers. It is plain Django; new rows that
    it hands to `outbox.record`, and sums to `outbox.add`, cost no round trip of their own.

    refused: the function that is called instead, in a new transaction, where a constraint of the database
    refuses what the first one did (IntegrityError). So the first need not ask before it acts.

    Raises DuplicateContract where the address has a handler of this contract already.
    """

    def register(function: Function) -> Function:
        address = at or owner(contract)
        handler = Handler(f"{address}.{contract.__name__}", contract, function, refused)
        if handler.name in _handlers:
            raise DuplicateContract(f"two handlers of {handler.name}")
        _handlers[handler.name] = handler
        actor = dramatiq.actor(queue_name=queue_name(address), actor_name=handler.name)
        actor(partial(deliver, handler))
        return function

    return register


def correlation() -> UUID | None:
    """The saga that the message being handled belongs to, for a module's own records."""
    envelope = outbox.current_envelope()
    return envelope.saga if envelope else None


def handlers() -> dict[str, Handler]:
    """All handlers of this process, by name."""
    return _handlers


def ask(command: Command) -> Event:
    """What a module would answer, at once and without a message: for questions at the edge, such as
    whether an order is on the menu. Whatever the handler changes is undone. Raises UnknownDestination,
    InvalidMessage."""
    handler = _handlers.get(f"{owner(type(command))}.{type(command).__name__}")
    if handler is None:
        raise UnknownDestination(type(command).__name__)
    encode(command)
    with transaction.atomic():
        answer = handler.function(command)
        transaction.set_rollback(True)
    if not isinstance(answer, Event):
        raise InvalidMessage(f"{handler.name} does not answer with one event")
    return answer


def perform(message: Message, *, to: str = "", saga: UUID | None = None) -> InboxMessage:
    """Put a message and handle it here and now, for somebody who waits for what comes of it. Should this
    process end in between, a relay sends it. Returns what came of it; raises what `outbox.put` raises."""
    with transaction.atomic():
        message_id = outbox.put(message, to=to, saga=saga)
    return handle_now(message_id)


def handle_now(message_id: UUID) -> InboxMessage:
    """Handle a message that was put, and committed, here and now. Returns what came of it."""
    letter = relay.letter_of(OutboxMessage.objects.get(pk=message_id))
    hand(letter)
    relay.mark_sent([message_id])
    return InboxMessage.objects.get(message_id=message_id, handler=letter.envelope.actor_name)


def hand(letter: Letter, *, redelivered: bool = False) -> None:
    """Deliver one message to its handler in this process, as a broker would. redelivered: as one does that
    has delivered it before."""
    arguments: dict[str, Any] = msgspec.json.decode(letter.seal())["kwargs"]
    deliver(_handlers[letter.envelope.actor_name], redelivered=redelivered, **arguments)


def deliver(handler: Handler, /, *args: Any, redelivered: bool = False, **arguments: Any) -> None:
    """Handle one delivery. Returns when its outcome is on record, whatever it is, so that the message can
    be acknowledged; raises only where nothing could be recorded: then it must be delivered again.

    redelivered: the broker says that it has delivered it before."""
    began, came = metrics.begin(), metrics.PUT_BACK
    try:
        with _patience():
            came = _deliver(handler, args, redelivered, arguments)
    finally:
        metrics.end(handler.name, came, began)


def _deliver(handler: Handler, args: tuple[Any, ...], redelivered: bool, arguments: dict[str, Any]) -> str:
    """The same; returns the outcome, in a word."""
    connection.ensure_connection()
    try:
        envelope, payload = unseal(arguments)
    except InvalidMessage as error:
        record_unreadable(handler.name, {"args": args, "kwargs": arguments}, error)
        return Status.DEAD
    careful = redelivered or _is_doubtful(envelope)
    if careful:
        metrics.again(handler.name)
    with (
        bound_contextvars(saga=str(envelope.saga), message=str(envelope.message_id)),
        tracing.handling(envelope, handler.name) as traced,
        _watched(handler, envelope, redelivered) if careful else nullcontext(True) as ours,
    ):
        if ours:
            outcome = _settle(handler, traced, payload, arguments, careful)
        else:
            log.info("another worker is at it", type=envelope.type)
            outcome = Outcome(metrics.LEFT)
        tracing.tell(outcome)
    if outcome.status == Status.DONE:
        metrics.tell(handler.name, outcome)
    return outcome.status


def _settle(handler: Handler, envelope: Envelope, payload: object, arguments: Any, careful: bool) -> Outcome:
    """Handle it, or put on record why that did not work; returns what came of it."""
    used = connection.connection
    try:
        died = failures.begin(envelope, handler.name, arguments) if careful else None
        if died is not None:
            log.error("begun before and never ended", type=envelope.type)
            return Outcome(died.status)
        return _attempt_until_alone(handler, envelope, payload)
    except AlreadyHandled:
        return _record_repeat(handler, envelope)
    except Exception as error:
        if isinstance(error, LOSSES) and (_is_lost(used) or _is_contention(error)):
            raise  # it says nothing of the message
        return _record(handler, envelope, arguments, error)


def _is_doubtful(envelope: Envelope) -> bool:
    """Whether this may not be the first that is heard of it: it was sent before, or is old."""
    put = envelope.due_at or envelope.created_at
    return envelope.sends > 0 or (put is not None and time.time() - put.timestamp() > OLD_SECONDS)


@contextmanager
def _watched(handler: Handler, envelope: Envelope, redelivered: bool) -> Iterator[bool]:
    """Whoever gets it delivered meanwhile waits; but copies that the relay sends again while it lasts, and
    will send again after that, are not ours to handle, and hold no thread. What ends without an outcome
    ends alive, and says so, even where the database has to come back first: it must not be taken for a
    death."""
    with failures.held(envelope, wait=redelivered or envelope.sends == 0) as ours:
        try:
            yield ours
        except LOSSES:
            connection.close()
            while not failures.leave(envelope, handler.name) and not closing.wait(PAUSE_WITHOUT_DATABASE):
                connection.close()
            raise


@contextmanager
def _patience() -> Iterator[None]:
    """While the database is lost, messages stay with the broker, and are not asked for again at once."""
    try:
        yield
    except LOSSES as error:
        connection.close()
        log.warning("the database cannot take it now; the message stays with the broker", error=str(error))
        closing.wait(PAUSE_WITHOUT_DATABASE)
        raise


def _attempt_until_alone(handler: Handler, envelope: Envelope, payload: object) -> Outcome:
    """Who collides with others in the database (a deadlock, say) was rolled back, and tries again."""
    for _ in range(MOST_COLLISIONS - 1):
        try:
            return _attempt(handler, envelope, payload)
        except OperationalError as error:
            if not _is_contention(error):
                raise
    return _attempt(handler, envelope, payload)


def _is_contention(error: Exception) -> bool:
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) in CONTENTION or "database is locked" in str(error)


def _attempt(handler: Handler, envelope: Envelope, payload: object) -> Outcome:
    began = time.perf_counter()
    if envelope.type != handler.contract.__name__:
        raise UnknownMessage(f"{envelope.type} at {handler.name}")
    message = decode(envelope.type, payload)
    try:
        outcome = _run(handler, handler.function, message, envelope)
    except IntegrityError:
        if handler.refused is None:
            raise
        outcome = _run(handler, handler.refused, message, envelope)
    state = {"state": outcome.to_state} if outcome.to_state else {}
    ms = round((time.perf_counter() - began) * 1000, 1)
    log.info(outcome.status, type=envelope.type, ms=ms, **state)
    return outcome


def _run(handler: Handler, function: Callable[..., Answer], message: Message, envelope: Envelope) -> Outcome:
    with transaction.atomic(), outbox.collecting(envelope) as work:
        answer = function(message)
        outcome = answer if isinstance(answer, Outcome) else _put_answers(answer)
        inbox.complete(handler.name, outcome, work)
    return outcome


def _put_answers(answer: Event | After | Iterable[Event | After] | None) -> Outcome:
    if isinstance(answer, Event):
        outbox.put(answer)
    elif isinstance(answer, After):
        outbox.put(answer.event, delay=answer.seconds)
    elif answer is not None:
        for each in answer:
            _put_answers(each)
    return Outcome()


def _record(handler: Handler, envelope: Envelope, arguments: Any, error: Exception) -> Outcome:
    hopeless = isinstance(error, (InvalidMessage, UnknownMessage, UnknownDestination))
    row = failures.record_failure(envelope, handler.name, error, arguments, hopeless=hopeless)
    if row.status in (Status.DONE, Status.IGNORED):
        return _record_repeat(handler, envelope)  # it failed on what it had done the first time
    tracing.failed(error, row)
    if row.status == Status.DEAD:
        log.error("dead", type=envelope.type, attempts=row.attempts, exc_info=error)
    else:
        log.warning("failed", type=envelope.type, attempts=row.attempts, error=row.error)
    return Outcome(row.status)


def _record_repeat(handler: Handler, envelope: Envelope) -> Outcome:
    failures.record_repeat(envelope, handler.name)
    log.info("was handled before", type=envelope.type)
    return Outcome(metrics.REPEATED)


def record_unreadable(handler: str, arguments: Any, error: Exception) -> None:
    """Keep a message that is not one of ours, dead, in the inbox: never in a queue that forgets it."""
    envelope = Envelope(message_id=_identity(arguments), type="?", destination=handler)
    failures.record_failure(envelope, handler, error, arguments, hopeless=True)
    if handler not in _handlers:
        metrics.unreadable()
    log.error("unreadable message", handler=handler, error=str(error))


def _identity(arguments: Any) -> UUID:
    """An id for what has none: the same for the same content, so that it is recorded once."""
    return uuid5(NAMESPACE_URL, repr(arguments))


def _is_lost(used: Any) -> bool:
    """Whether the connection that a handler used is gone; Django may have made a new one meanwhile."""
    return connection.connection is None or getattr(used, "closed", False)
