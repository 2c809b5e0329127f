"""The envelope: what a message carries besides its contract, and how both look on the wire."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from django.conf import settings
from msgspec import Meta

from pizzahouse.messaging.errors import InvalidMessage

Trace = Annotated[str, Meta(pattern=r"^([0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})?\Z")]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{0,100}\Z")]


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who, why and where. The names are those of Hohpe and Woolf's *Enterprise Integration Patterns*."""

    message_id: UUID  # made when the message is put, the same on every attempt
    type: Name  # the contract's wire name
    destination: Name  # an address: a queue, or a queue and whom it is for ("orders.table_service")
    reply_to: Name = ""  # the address that the answering events go to
    saga: UUID | None = None  # the correlation: all messages of one saga share it
    causation: UUID | None = None  # the message that caused this one
    trace: Trace = ""  # W3C traceparent: of what it was put in (see `tracing`)
    created_at: datetime | None = None
    due_at: datetime | None = None  # only where it was put with a delay
    sends: Annotated[int, Meta(ge=0)] = 0  # how often it was sent before, as far as is known

    @property
    def actor_name(self) -> str:
        """The Dramatiq actor that handles it: its address and its type."""
        return f"{self.destination}.{self.type}"


def queue_name(address: str) -> str:
    """The broker's queue for an address: its first part, behind the house's prefix."""
    return str(settings.MESSAGING["QUEUE_PREFIX"]) + address.partition(".")[0]


def unseal(arguments: dict[str, Any]) -> tuple[Envelope, object]:
    """The envelope, and the payload's plain values, from a Dramatiq message's keyword arguments.
    Raises InvalidMessage."""
    try:
        return _envelope(arguments["envelope"]), arguments["payload"]
    except (KeyError, msgspec.ValidationError) as error:
        raise InvalidMessage(f"its envelope is unreadable: {error!r}") from error


def _envelope(values: Any) -> Envelope:
    """A trace that is none is left out: no message fails because of it."""
    try:
        return msgspec.convert(values, Envelope)
    except msgspec.ValidationError:
        if not isinstance(values, dict) or "trace" not in values:
            raise
        return msgspec.convert({name: values[name] for name in values if name != "trace"}, Envelope)


class Letter(msgspec.Struct, frozen=True):
    """A message on its way out: the envelope, the payload as JSON, and a delay in seconds."""

    envelope: Envelope
    payload: bytes
    delay: float = 0.0

    @property
    def queue(self) -> str:
        """The broker's queue it goes to."""
        return queue_name(self.envelope.destination)

    def seal(self) -> bytes:
        """The letter as a Dramatiq message, ready to be published."""
        envelope = self.envelope
        created = envelope.created_at
        return msgspec.json.encode(
            {
                "queue_name": self.queue,
                "actor_name": envelope.actor_name,
                "args": (),
                "kwargs": {"envelope": envelope, "payload": msgspec.Raw(self.payload)},
                "options": {},
                "message_id": envelope.message_id,
                "message_timestamp": int(created.timestamp() * 1000) if created else 0,
            }
        )
