"""An evening of every kind, each served once by the house's own code, to be copied."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.test import override_settings

from orders.contracts import Cancel, StartTableService
from orders.office.storyline import graph_of
from orders.saga import Saga, find, scenarios
from orders.simple_serving import SimpleServing, StartSimpleServing
from orders.table_service import APOLOGIZING, BAKING, RECALLING, TableService
from pizzahouse.messaging import outbox, relay, testing
from pizzahouse.messaging.messages import Command
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from waiter.contracts import Wish

DAYS = 90.0
HOUR = 1 / 24
FEW, STRANGE, COLD = Wish(2, "pmghr", "xl"), Wish(1, "nonesuch", "xl"), Wish(1, "pvege", "xl")
UNDER_WAY = "under way: "


@dataclass(frozen=True)
class Evening:
    """A process, and how it is copied."""

    saga: UUID
    share: float  # of all processes
    days: float = DAYS  # over which its copies have started
    in_full: bool = False  # all of its copies have their messages, not only the newest

    @property
    def scenario(self) -> type[Saga]:
        """What it is one of."""
        found = find(self.saga)
        assert found is not None
        return type(found)


def serve(pizzas: int) -> dict[str, Evening]:
    """Serve them, by what they are an example of. pizzas: of the biggest one."""
    with override_settings(PIZZAHOUSE_PACE=0.0, PIZZAHOUSE_PATIENCE=50.0):
        found = {
            "closed": Evening(_seat("TBL"), 0.75),
            "simple": Evening(_begin(SimpleServing, StartSimpleServing(table="BAR")), 0.195),
            "called off": Evening(_called_off(), 0.03),
            "big": Evening(_seat("BIG", wish=(Wish(pizzas, "pmghr", "xl"),)), 0.0),
            "ordering": Evening(_seat("NEW", in_person=True), 0.01, HOUR, in_full=True),
            "stopped": Evening(_stopped(), 0.001, 10.0, in_full=True),
            "overdue": Evening(_overdue(), 0.001, 1.0, in_full=True),
        }
        with override_settings(MESSAGING=settings.MESSAGING | {"MAX_ATTEMPTS": 1}):
            found["dead"] = Evening(_seat("DEAD", wish=(STRANGE,)), 0.0007, 2.0, in_full=True)
            with override_settings(PIZZAHOUSE_COLD_OVEN=[COLD.code]):
                found["dead in the kitchen"] = Evening(_seat("OVEN", wish=(COLD,)), 0.0003, 5.0, in_full=True)
        found |= {
            UNDER_WAY + name: Evening(saga, 0.0005, HOUR, in_full=True) for name, saga in _under_way().items()
        }
        found["failing"] = Evening(_seat("FAIL", wish=(STRANGE,)), 0.004, HOUR / 3, in_full=True)
    _settle()
    return found


# --- How each comes about -------------------------------------------------------------------------


def _called_off() -> UUID:
    saga = _seat("OFF", in_person=True)
    _cancel(saga)
    testing.deliver()
    return saga


def _stopped() -> UUID:
    with override_settings(PIZZAHOUSE_MISHAPS=settings.PIZZAHOUSE_MISHAPS | {"declined": 1.0}):
        return _seat("STOP")


def _overdue() -> UUID:
    """Its deadline has passed: it has asked again."""
    saga = _seat("LATE", in_person=True)
    deadline = TableService.objects.get(pk=saga).deadline
    for letter in testing.letters("DeadlinePassed"):
        if letter.envelope.message_id == deadline:
            relay.mark_sent([deadline])
            testing.hand(letter)
    return saga


def _under_way() -> dict[str, UUID]:
    """One in each state of each story, by scenario and state; and two that are undone. What each waits for is
    with the broker."""
    found = {}
    for scenario in scenarios():
        for state in graph_of(scenario).line[1:-1]:
            saga = _put(scenario, _start(scenario, "NOW"))
            _go_on(saga, state)
            found[f"{scenario.label()}, {state}"] = saga
    for before, after in ((BAKING, RECALLING), (BAKING, APOLOGIZING)):
        saga = _put(TableService, _start(TableService, "UNDO"))
        _go_on(saga, before)
        _cancel(saga)
        _go_on(saga, after)
        found[f"{TableService.label()}, {after}"] = saga
    return found


def _start(scenario: type[Saga], table: str) -> Command:
    return (
        StartTableService(table=table, wish=(FEW,))
        if scenario is TableService
        else StartSimpleServing(table=table)
    )


def _go_on(saga: UUID, state: str) -> None:
    """Handle one message of it after the other, until it is in this state; the rest goes to the broker."""
    while (found := find(saga)) is None or found.state != state:
        [letter] = relay.take_pending(1)
        relay.mark_sent([letter.envelope.message_id])
        testing.hand(letter)
    relay.mark_sent([letter.envelope.message_id for letter in relay.take_pending(testing.MANY)])


def _seat(table: str, **how: Any) -> UUID:
    return _begin(TableService, StartTableService(table=table, **how))


def _begin(scenario: type[Saga], command: Command) -> UUID:
    """Begin a process, and handle all that comes of it."""
    saga = _put(scenario, command)
    testing.deliver()
    return saga


@transaction.atomic
def _put(scenario: type[Saga], command: Command) -> UUID:
    return scenario.begin(command)


@transaction.atomic
def _cancel(saga: UUID) -> None:
    outbox.put(Cancel(by="bench", reason="they left"), to=TableService.address(), saga=saga)


def _settle() -> None:
    """As relays leave it: they look no more at what was handled."""
    handled = InboxMessage.objects.values("message_id")
    OutboxMessage.objects.filter(sent_at__isnull=False, id__in=handled).update(available_at=None)
