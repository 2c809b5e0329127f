"""Contracts: checked when a message is put, and again when it arrives."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Literal
from uuid import UUID

import msgspec
import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import inspect

from kitchen.contracts import DoPizza, PizzaDone
from menu.contracts import GetMenu
from orders.contracts import StartTableService
from pizzahouse.messaging import messages, outbox
from pizzahouse.messaging.errors import DuplicateContract, InvalidMessage, UnknownMessage
from pizzahouse.messaging.messages import Command, Event, Message, contracts, decode, encode
from pizzahouse.messaging.models import OutboxMessage
from pizzahouse.messaging.testing import sent
from tests.unit.postoffice import SENDER, ParcelSent, SendParcel, post
from waiter.contracts import OrderLine, OrderPlaced, PlaceOrder, ShowBill, Wish

ID = UUID(int=7)


class Colour(Enum):
    RED = "red"


class EveryKind(Event, frozen=True):
    """A field of each kind that JSON can carry."""

    by_number: dict[int, str]
    by_id: dict[UUID, int]
    sum: Decimal
    share: float
    at: datetime
    day: date
    lasts: timedelta
    raw: bytes
    colour: Colour
    one_of: Literal["a", 1]
    pair: tuple[int, str]
    some: frozenset[int]
    maybe: UUID | None = None


def _values(kind: inspect.Type) -> st.SearchStrategy[Any]:  # noqa: PLR0911, C901  (one per kind of type)
    """Values of a msgspec type, within its constraints."""
    match kind:
        case inspect.StrType(pattern=None):
            text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
            return text.filter(lambda value: _fits(value, kind))
        case inspect.StrType(pattern=pattern):
            return st.from_regex(pattern.replace(r"\Z", "$"), fullmatch=True).filter(str.isascii)
        case inspect.IntType(ge=least, le=most):
            return st.integers(-(2**53) if least is None else least, 2**53 if most is None else most)
        case inspect.UUIDType():
            return st.uuids()
        case inspect.BoolType():
            return st.booleans()
        case inspect.FloatType():
            return st.floats(allow_nan=False, allow_infinity=False)
        case inspect.LiteralType(values=values):
            return st.sampled_from(values)
        case inspect.NoneType():
            return st.none()
        case inspect.UnionType(types=types):
            return st.one_of(*map(_values, types))
        case inspect.VarTupleType(item_type=item, min_length=least):
            return st.lists(_values(item), min_size=least or 0, max_size=4).map(tuple)
        case inspect.DictType(key_type=key, value_type=value):
            return st.dictionaries(_values(key), _values(value), max_size=4)
        case inspect.StructType(cls=cls, fields=fields):
            return st.builds(cls, **{each.name: _values(each.type) for each in fields})
    raise NotImplementedError(kind)


def _fits(text: str, kind: inspect.StrType) -> bool:
    return (kind.min_length or 0) <= len(text) <= (kind.max_length or 1000)


def _of_the_house() -> list[type[Message]]:
    return [each for each in contracts() if not each.__module__.startswith("tests")]


@pytest.mark.parametrize("contract", _of_the_house(), ids=lambda each: each.__name__)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_what_can_be_put_arrives_as_it_was(contract: type[Message], data: st.DataObject) -> None:
    message = data.draw(_values(inspect.type_info(contract)))
    assert decode(contract.__name__, json.loads(encode(message))) == message


@pytest.mark.django_db
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_can_be_put_is_the_same_after_the_database_kept_it(data: st.DataObject) -> None:
    contract = data.draw(st.sampled_from(sorted(_of_the_house(), key=lambda each: each.__name__)))
    message = data.draw(_values(inspect.type_info(contract)))
    OutboxMessage.objects.all().delete()
    OutboxMessage.objects.create(type=contract.__name__, payload=json.loads(encode(message)))
    assert sent() == [message]


def test_every_kind_of_field_that_can_be_put_can_arrive() -> None:
    message = EveryKind(
        by_number={1: "one"},
        by_id={ID: 1},
        sum=Decimal("14.00"),
        share=0.5,
        at=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
        day=date(2026, 1, 2),
        lasts=timedelta(seconds=1.5),
        raw=b"\x00\xff",
        colour=Colour.RED,
        one_of=1,
        pair=(1, "a"),
        some=frozenset({1, 2}),
        maybe=ID,
    )
    assert decode("EveryKind", json.loads(encode(message))) == message


@pytest.mark.parametrize(
    ("message", "named"),
    [
        (StartTableService(table="no such table!"), "table"),
        (StartTableService(table=""), "table"),
        (StartTableService(table="T" * 21), "table"),
        (StartTableService(table="TBL1\n"), "table"),
        (StartTableService(table="TÄBL"), "table"),
        (StartTableService(table="T1", wish=(Wish(0, "pmghr", "xl"),)), "wish"),
        (StartTableService(table="T1", wish=(Wish(-1, "pmghr", "xl"),)), "wish"),
        (StartTableService(table="T1", wish=(Wish(1_000_000, "pmghr", "xl"),)), "wish"),
        (StartTableService(table="T1", wish=(Wish(True, "pmghr", "xl"),)), "wish"),
        (StartTableService(table="T1", wish=(Wish(1, "", "xl"),)), "wish"),
        (StartTableService(table=None), "table"),  # type: ignore[arg-type]
        (OrderPlaced(table="T1", lines=()), "lines"),
        (OrderPlaced(table="T1", lines=(OrderLine(1, "a", "xl", -1, "EUR"),)), "lines"),
        (OrderPlaced(table="T1", lines=(OrderLine(1, "a", "xl", 14.5, "EUR"),)), "lines"),  # type: ignore[arg-type]
        (OrderPlaced(table="T1", lines=(OrderLine(1, "a", "xl", 1, "eur"),)), "lines"),
        (ShowBill(table="T1", bill={"EURO": 1}), "bill"),
        (ShowBill(table="T1", bill={"EUR": float("nan")}), "bill"),  # type: ignore[dict-item]
        (DoPizza(kitchen_order_id="x", code="a", size="xl"), "kitchen_order_id"),  # type: ignore[arg-type]
        (PizzaDone(kitchen_order_id=None), "kitchen_order_id"),  # type: ignore[arg-type]
        (PlaceOrder(table="T1", menu=1j), "complex"),  # type: ignore[arg-type]
        (SendParcel(note="\ud800"), "SendParcel"),
    ],
    ids=str,
)
def test_what_breaks_its_contract_is_refused_when_put(message: Message, named: str) -> None:
    with pytest.raises(InvalidMessage, match=named) as refusal:
        encode(message)
    assert type(message).__name__ in str(refusal.value)
    assert "Correct the value" in str(refusal.value)


@pytest.mark.django_db
def test_a_text_that_no_database_can_keep_is_refused_when_put() -> None:
    with pytest.raises(InvalidMessage), transaction.atomic():
        outbox.put(SendParcel(note="a\0b"))


@pytest.mark.django_db
def test_the_sender_gets_the_error_and_nothing_is_written() -> None:
    with pytest.raises(InvalidMessage, match="weight"), transaction.atomic():
        outbox.put(SendParcel(weight=0))
    assert sent() == []


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"table": "no such table!"},
        {"table": 1},
        {"table": "T1", "wish": [{"quantity": 0, "code": "a", "size": "b"}]},
        {"table": "T1", "wish": [{"quantity": "1", "code": "a", "size": "b"}]},
        {"table": "T1", "wish": {}},
        [],
        "TBL1",
        None,
        1,
    ],
    ids=repr,
)
def test_what_breaks_its_contract_is_refused_when_it_arrives(payload: object) -> None:
    with pytest.raises(InvalidMessage, match="StartTableService"):
        decode("StartTableService", payload)


def test_fields_that_a_receiver_does_not_know_are_ignored() -> None:
    payload = {"kitchen_order_id": str(ID), "oven": 3, "baker": {"name": "Gino"}}
    assert decode("PizzaDone", payload) == PizzaDone(kitchen_order_id=ID)


def test_fields_that_a_sender_does_not_know_yet_have_their_default() -> None:
    assert decode("StartTableService", {"table": "T1"}) == StartTableService(table="T1", wish=())


def test_a_message_of_no_installed_contract_is_unknown_and_says_what_to_do() -> None:
    with pytest.raises(UnknownMessage, match=r"Deploy the code that knows it.*FlyToTheMoon"):
        decode("FlyToTheMoon", {})


def test_a_second_contract_of_the_same_name_is_refused() -> None:
    with pytest.raises(DuplicateContract, match=r"DoPizza in kitchen\.contracts, tests"):
        type("DoPizza", (Command,), {"__module__": __name__})
    assert messages.contract("DoPizza") is DoPizza


def test_a_message_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        PizzaDone(kitchen_order_id=ID).kitchen_order_id = UUID(int=8)  # type: ignore[misc]


def test_a_contract_belongs_to_the_module_that_performs_it() -> None:
    assert [messages.owner(each) for each in (DoPizza, GetMenu, ShowBill, StartTableService)] == [
        "kitchen",
        "menu",
        "waiter",
        "orders",
    ]


def test_the_wire_name_tells_a_command_from_an_event() -> None:
    kinds = {name: messages.kind(name) for name in ("DoPizza", "PizzaDone", "NoLongerInstalled")}
    assert kinds == {"DoPizza": "command", "PizzaDone": "event", "NoLongerInstalled": "event"}


@pytest.mark.django_db
def test_what_was_sent_can_be_seen_by_name_and_by_saga() -> None:
    post(SendParcel(note="mine"), saga=ID)
    post(SendParcel(note="yours"))
    post(ParcelSent(note="mine"), to=SENDER, saga=ID)
    assert sent(saga=ID) == [SendParcel(note="mine"), ParcelSent(note="mine")]
    assert sent("SendParcel") == [SendParcel(note="mine"), SendParcel(note="yours")]
    assert sent("SendParcel", saga=ID) == [SendParcel(note="mine")]


def test_a_contract_is_a_struct_that_checks_by_its_own_json() -> None:
    assert json.loads(encode(DoPizza(ID, "pmghr", "xl"))) == {
        "kitchen_order_id": str(ID),
        "code": "pmghr",
        "size": "xl",
    }
    assert msgspec.structs.fields(DoPizza)[0].type is UUID
