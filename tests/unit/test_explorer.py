"""The explorer: clean on what is right, and it finds what is wrong."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import connection

from kitchen.contracts import CancelPizza, DoPizza, PizzaCancelled
from kitchen.models import KitchenOrder
from orders import saga as saga_module
from orders.cli import Exit
from orders.explorer import findings
from orders.explorer.explore import explore
from orders.explorer.replay import replay
from orders.explorer.worlds import Bounds, Explored, Finding
from orders.pizzas import OrderedPizzas
from orders.saga import Saga
from orders.simple_serving import SimpleServing
from orders.steps import Table
from orders.table_service import ORDERING, TableService
from pizzahouse.messaging import handling, inbox
from pizzahouse.messaging.messages import Command
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from tests.house import PROJECT
from waiter.contracts import ShowBill
from waiter.models import Deed

pytestmark = pytest.mark.django_db
NOTHING = Bounds(*[0] * len(Bounds._fields))
DOZEN = 12


def only(**bounds: int) -> Bounds:
    """So often and no more, all together as often."""
    return NOTHING._replace(**bounds, troubles=sum(bounds.values()))


def found(bounds: Bounds, *, pizzas: int = 1) -> Finding:
    """The first thing that is wrong, which must be there, after a dozen messages at the most."""
    explored = explore(TableService, pizzas=pizzas, bounds=bounds, first_only=True)
    assert explored.findings, f"nothing found in {explored.worlds} worlds"
    (finding,) = explored.findings[:1]
    assert finding.messages <= DOZEN, "\n".join(findings.lines(finding))
    return finding


def forget_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no deadline where the guests order."""
    table: Table = {
        key: step._replace(within=None) if step.targets == (ORDERING,) else step
        for key, step in TableService.steps().items()
    }
    monkeypatch.setattr(TableService, "steps", classmethod(lambda cls: table))


def never_withdraw(monkeypatch: pytest.MonkeyPatch, contract: type[Command]) -> None:
    withdraw = Saga.withdraw

    def forget_one(self: Saga, *commands: type[Command], **why: str) -> bool:
        return contract not in commands and withdraw(self, *commands, **why)

    monkeypatch.setattr(Saga, "withdraw", forget_one)


# --- What is right --------------------------------------------------------------------------------


def test_an_evening_on_which_nothing_goes_wrong_has_one_end() -> None:
    explored = explore(TableService, pizzas=1, bounds=NOTHING)
    assert (explored.findings, explored.complete) == ((), True)
    assert explored.states[-1] == "closed"
    assert "called_off" not in explored.states


def test_the_table_s_service_is_clean_and_every_state_is_reached() -> None:
    explored = explore(TableService, pizzas=1, bounds=Bounds(troubles=2))
    assert (explored.findings, explored.complete) == ((), True)
    states = {step.source for step in TableService.steps().values()} | {*TableService.outcomes}
    assert {*explored.states} == states


def test_the_simple_serving_is_clean_and_every_state_is_reached() -> None:
    explored = explore(SimpleServing, pizzas=1)
    assert (explored.findings, explored.complete) == ((), True)
    states = {step.source for step in SimpleServing.steps().values()} | {*SimpleServing.outcomes}
    assert {*explored.states} == states


def test_what_was_found_is_the_same_each_time() -> None:
    first, second = (explore(SimpleServing, pizzas=1, bounds=Bounds(troubles=1)) for _ in range(2))
    assert first == second


def test_the_configured_database_is_left_alone() -> None:
    explore(SimpleServing, pizzas=1, bounds=NOTHING)
    assert not OutboxMessage.objects.exists()
    assert not InboxMessage.objects.exists()


# --- Five bugs, put in on purpose -----------------------------------------------------------------


def test_it_finds_a_saga_that_is_not_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saga_module, "lock", lambda model, key: model._default_manager.filter(pk=key).first())
    finding = found(only(cancels=1))
    assert "overlap" in {move.kind for move in finding.way}


def test_it_finds_a_missing_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_a_deadline(monkeypatch)
    finding = found(only(losses=1))
    assert finding.what == "it is stuck"
    assert finding.detail == "in state ordering, with nothing under way and no deadline"
    assert [str(move) for move in finding.way][-1] == "PlaceOrder is lost"


def test_it_finds_a_compensation_that_was_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(self: TableService) -> None:
        self.baking = 0

    monkeypatch.setattr(TableService, "recall_pizzas", forget)
    finding = found(only(cancels=1))
    assert finding.what in {"no pizza is lost", "nothing is baked for nobody"}


def test_it_finds_a_pizza_that_is_counted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OrderedPizzas, "mark", lambda *_, **__: True)
    finding = found(only(duplicates=1), pizzas=2)
    assert finding.what == "nothing is served that is not baked"
    assert [move.kind for move in finding.way][-1] == "repeat"


def test_it_finds_a_cancel_that_overtakes(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(command: CancelPizza) -> PizzaCancelled:
        KitchenOrder.objects.filter(pk=command.kitchen_order_id).update(status="discarded")
        return PizzaCancelled(command.kitchen_order_id, discarded=True)

    known = handling.handlers()
    mended = replace(known["kitchen.CancelPizza"], function=forgetful)
    monkeypatch.setitem(known, "kitchen.CancelPizza", mended)
    never_withdraw(monkeypatch, DoPizza)
    finding = found(only(cancels=1))
    assert finding.detail == "a pizza is baked that was cancelled"
    order = [move.message.type for move in finding.way]
    assert order.index("CancelPizza") < order.index("DoPizza")


def test_it_finds_a_bill_that_was_written_off_and_comes_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    never_withdraw(monkeypatch, ShowBill)
    explored = explore(SimpleServing, pizzas=1, bounds=only(decisions=1, deadlines=2))
    found = {finding.what: finding for finding in explored.findings}
    assert found["who has left is not served"].detail == "it is closed, and ShowBill may still come"


# --- Others ---------------------------------------------------------------------------------------


def test_it_finds_a_handler_that_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    known = handling.handlers()
    broken = replace(known["menu.GetMenu"], function=lambda command: 1 / 0)
    monkeypatch.setitem(known, "menu.GetMenu", broken)
    finding = found(NOTHING)
    assert (finding.what, finding.detail) == ("GetMenu fails", "ZeroDivisionError: division by zero")


def test_it_finds_a_handler_that_reaches_into_another_module(monkeypatch: pytest.MonkeyPatch) -> None:
    known = handling.handlers()
    get_menu = known["menu.GetMenu"].function

    def nosy(command: Any) -> Any:
        KitchenOrder.objects.create(id=UUID(int=77), code="x", size="y")
        return get_menu(command)

    monkeypatch.setitem(known, "menu.GetMenu", replace(known["menu.GetMenu"], function=nosy))
    assert found(NOTHING).what == "menu changes what is not its own"


def test_it_finds_a_handler_that_commits_half_way(monkeypatch: pytest.MonkeyPatch) -> None:
    known = handling.handlers()
    show_menu = known["waiter.ShowMenu"].function

    def hasty(command: Any) -> Any:
        Deed.objects.create(kind="menu_shown", table=command.table)
        connection.connection.execute("COMMIT")
        connection.connection.execute("BEGIN")
        return show_menu(command)

    monkeypatch.setitem(known, "waiter.ShowMenu", replace(known["waiter.ShowMenu"], function=hasty))
    assert found(NOTHING).what == "a crash leaves something half done"


def test_it_finds_that_the_inbox_does_not_know_what_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(handler: str, outcome: Any, work: Any) -> bool:
        InboxMessage.objects.filter(message_id=work.envelope.message_id).delete()
        return bool(complete(handler, outcome, work))

    complete: Callable[..., bool] = inbox._complete_step_by_step
    monkeypatch.setattr(inbox, "_complete_step_by_step", forgetful)
    assert found(NOTHING).what == "a message is handled twice"


# --- What it says ---------------------------------------------------------------------------------


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Explored:
    """An exploration that has found a saga which is stuck."""
    forget_a_deadline(monkeypatch)
    return explore(TableService, pizzas=1, bounds=only(losses=1), first_only=True)


def test_a_finding_is_told_move_by_move(stuck: Explored) -> None:
    told = list(findings.lines(stuck.findings[0]))
    assert told[0].startswith("it is stuck: in state ordering")
    assert told[1] == "    1. StartTableService comes (start → started)"
    assert told[-1].endswith("PlaceOrder is lost")


def test_a_finding_is_drawn_as_a_sequence(stuck: Explored) -> None:
    drawn = findings.mermaid(stuck.findings[0]).splitlines()
    assert drawn[0] == "sequenceDiagram"
    assert "    orders->>menu: GetMenu" in drawn
    assert "    orders--xwaiter: PlaceOrder (lost)" in drawn
    assert drawn[-1].startswith("    Note over somebody,kitchen: it is stuck")


def test_a_finding_becomes_a_test_that_fails_until_it_is_mended(
    stuck: Explored, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = stuck.findings[0]
    text = findings.as_test(stuck, finding, pizzas=1, stock=1)
    compile(text, "test_found.py", "exec")
    assert "def test_table_service_it_is_stuck() -> None:" in text
    assert text.count('("deliver", ') + text.count("('deliver', ") == finding.messages
    way = [move.written for move in finding.way]
    assert replay("table_service", way, pizzas=1, stock=1) == [f"{finding.what}: {finding.detail}"]
    monkeypatch.undo()
    assert replay("table_service", way, pizzas=1, stock=1) == []


def test_a_written_test_runs_and_passes_on_what_is_right(stuck: Explored, tmp_path: Path) -> None:
    written = tmp_path / "test_found.py"
    written.write_text(findings.as_test(stuck, stuck.findings[0], pizzas=1, stock=1))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", str(written)]
    own = os.environ | {"TEST_RUN": f"{os.environ.get('TEST_RUN', '')}_written"}  # a database of its own
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, env=own)
    assert ran.returncode == 0, ran.stdout
    assert "1 passed" in ran.stdout


def test_the_command_says_what_was_explored(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("explore_saga", "simple_serving", "--pizzas", "1", "--troubles", "0")
    said = capsys.readouterr().out
    assert re.search(r"simple_serving: all \d+ worlds that can be reached", said)
    assert "Nothing is wrong there." in said


def test_a_search_that_did_not_look_at_all_proves_nothing() -> None:
    command = [sys.executable, "manage.py", "explore_saga", "simple_serving", "--most", "10"]
    environment = os.environ | {"DATABASE_URL": "sqlite://:memory:"}
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=PROJECT, env=environment, check=False
    )
    assert result.returncode == Exit.ERROR
    assert "only the first" in result.stdout
    assert "Not all was looked at" in result.stderr
