"""The envelope, and the message on the wire."""

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from dramatiq.message import Message as DramatiqMessage
from hypothesis import strategies as st
from pytest_django import Settings

from pizzahouse.messaging.envelope import Envelope, Letter, queue_name, unseal
from pizzahouse.messaging.errors import InvalidMessage

ID, SAGA, CAUSE = UUID(int=1), UUID(int=2), UUID(int=3)
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
TRACE = f"00-{SAGA.hex}-{ID.hex[16:]}-01"

FULL = Envelope(
    message_id=ID,
    type="DoPizza",
    destination="kitchen",
    reply_to="orders.table_service",
    saga=SAGA,
    causation=CAUSE,
    trace=TRACE,
    created_at=NOW,
    due_at=NOW,
)
BARE = Envelope(message_id=ID, type="DoPizza", destination="kitchen")


@pytest.mark.parametrize("envelope", [FULL, BARE], ids=["full", "bare"])
def test_an_envelope_travels_whole(envelope: Envelope) -> None:
    wire = json.loads(Letter(envelope, b'{"a":[1,null]}').seal())
    assert unseal(wire["kwargs"]) == (envelope, {"a": [1, None]})


def test_a_letter_is_a_message_that_plain_dramatiq_reads(settings: Settings) -> None:
    settings.MESSAGING = settings.MESSAGING | {"QUEUE_PREFIX": "mine-"}
    message = DramatiqMessage(**json.loads(Letter(FULL, b"{}").seal()))
    assert message.actor_name == "kitchen.DoPizza"
    assert message.queue_name == "mine-kitchen"
    assert message.message_id == str(ID)
    assert message.message_timestamp == int(NOW.timestamp() * 1000)
    assert message.args == ()
    assert message.options == {}


def test_an_address_is_a_queue_and_whom_it_is_for(settings: Settings) -> None:
    assert queue_name("orders.table_service") == queue_name("orders") == "orders"
    settings.MESSAGING = settings.MESSAGING | {"QUEUE_PREFIX": "mine-"}
    assert queue_name("orders.table_service") == "mine-orders"
    assert FULL.actor_name == "kitchen.DoPizza"


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"payload": {}},
        {"envelope": {"message_id": str(ID), "type": "A", "destination": "b"}},
        {"envelope": None, "payload": {}},
        {"envelope": [], "payload": {}},
        {"envelope": {"message_id": "not an id", "type": "A", "destination": "b"}, "payload": {}},
        {"envelope": {"message_id": str(ID), "type": 1, "destination": "b"}, "payload": {}},
        {"envelope": {"message_id": str(ID), "type": "A"}, "payload": {}},
    ],
    ids=repr,
)
def test_an_unreadable_envelope_is_an_invalid_message(arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidMessage, match="its envelope is unreadable"):
        unseal(arguments)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=10,
)
