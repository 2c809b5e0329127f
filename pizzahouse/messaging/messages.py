"""Contracts: what modules say to each other. A command asks (`DoPizza`), an event tells (`PizzaDone`).

A contract is a frozen struct in the `contracts.py` of the module that performs it. Its wire name is its
class name; the queue it belongs to is the name of its module.
"""

import re
from functools import cache
from typing import Any

import msgspec

from pizzahouse.messaging.errors import DuplicateContract, InvalidMessage, UnknownMessage


class Message(msgspec.Struct, frozen=True):
    """Base of all contracts. Fields a receiver does not know are ignored, so that senders can go first."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__ != __name__:
            _register(cls)


class Command(Message, frozen=True):
    """Asks one module to do something; the answer is an event."""


class Event(Message, frozen=True):
    """Tells whoever asked that something was done."""


_contracts: dict[str, type[Message]] = {}
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # in JSON; two backslashes are one, and end there


def _register(contract: type[Message]) -> None:
    known = _contracts.setdefault(contract.__name__, contract)
    # msgspec builds a struct class twice (once for its slots): the same place is the same contract.
    if (known.__module__, known.__qualname__) != (contract.__module__, contract.__qualname__):
        raise DuplicateContract(f"{contract.__name__} in {known.__module__}, {contract.__module__}")
    _contracts[contract.__name__] = contract


def contract(name: str) -> type[Message]:
    """The contract of this wire name. Raises UnknownMessage."""
    try:
        return _contracts[name]
    except KeyError:
        raise UnknownMessage(name) from None


def contracts() -> list[type[Message]]:
    """All contracts that are installed."""
    return list(_contracts.values())


def owner(contract: type[Message]) -> str:
    """The module a contract belongs to: the first part of where it is defined."""
    return contract.__module__.partition(".")[0]


def kind(name: str) -> str:
    """ "command" or "event", by wire name; what is no longer installed counts as an event."""
    known = _contracts.get(name)
    return "command" if known and issubclass(known, Command) else "event"


@cache
def _decoder(contract: type[Message]) -> msgspec.json.Decoder[Message]:
    return msgspec.json.Decoder(contract)


def encode(message: Message) -> bytes:
    """The message as JSON. Raises InvalidMessage where a value breaks the contract: msgspec checks no
    constraint when a struct is made, so the JSON is read back once, here, where the sender sees it."""
    try:
        payload = msgspec.json.encode(message)
        _decoder(type(message)).decode(payload)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise InvalidMessage(f"{type(message).__name__}: {error}") from error
    if has_nul(payload):
        raise InvalidMessage(f"{type(message).__name__}: PostgreSQL keeps no text with a NUL character")
    return payload


def has_nul(payload: bytes) -> bool:
    """Whether there is a NUL character in a text of this JSON: PostgreSQL keeps none."""
    return b"\\u0000" in payload and bool(_NUL.search(payload))


def decode(name: str, payload: object) -> Message:
    """The message of this wire name from its JSON values. Raises UnknownMessage, InvalidMessage."""
    try:
        return msgspec.convert(payload, contract(name), str_keys=True)
    except msgspec.ValidationError as error:
        raise InvalidMessage(f"{name}: {error}") from error
