"""The commands that only look, as people read them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import OperationalError, ProgrammingError, transaction
from rich.console import Console

from orders.bench import figures
from orders.bench.report import table
from orders.cli import Exit, Failed, HouseCommand
from orders.contracts import StartTableService
from orders.table_service import TableService
from pizzahouse.messaging.models import InboxMessage
from pizzahouse.messaging.testing import deliver
from tests.house import PROJECT

pytestmark = pytest.mark.django_db
NOBODY = str(UUID(int=7))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a command says on stdout."""

    def run(*args: str) -> str:
        capsys.readouterr()
        call_command(*args)
        return capsys.readouterr().out

    return run


def serve(name: str = "TBL1") -> str:
    with transaction.atomic():
        saga = TableService.begin(StartTableService(table=name))
    deliver(later=True)
    return str(saga)


def test_sagas_lists_the_processes_newest_first(run: Callable[..., str]) -> None:
    first, second = serve("TBL1"), serve("TBL2")
    lines = run("sagas").splitlines()
    assert [line.split()[0] for line in lines[1:]] == [second, first]
    assert "closed" in lines[1]
    assert [each["table"] for each in json.loads(run("sagas", "--json", "--table", "TBL1"))] == ["TBL1"]
    assert json.loads(run("sagas", "--json", "--state", "baking")) == []


def test_no_processes_is_said_on_stderr_with_what_to_type(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("sagas")
    said = capsys.readouterr()
    assert said.out == ""
    assert "serve_table TBL1" in said.err


def test_saga_tells_its_history_in_order(run: Callable[..., str]) -> None:
    told = run("saga", serve())
    assert "closed, completed" in told
    steps = ["StartTableService", "GetMenu", "DoPizza", "collect_pizza", "BillPaid", "thanking → closed"]
    assert [told.index(step) for step in steps] == sorted(told.index(step) for step in steps)


def test_saga_shows_what_it_waits_for_and_why_it_failed(run: Callable[..., str], settings: Any) -> None:
    settings.MESSAGING = settings.MESSAGING | {"MAX_ATTEMPTS": 1}
    settings.PIZZAHOUSE_MISHAPS = {"left": 0}
    told = run("saga", serve())
    assert "waits for DoPizza to kitchen: dead" in told
    assert "KeyError: 'burned'" in told
    assert "Traceback (most recent call last)" in told


def test_whoever_reads_no_further_gets_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "manage.py", "saga_graph", "table_service"]
    result = subprocess.run(
        command, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=PROJECT, check=False, timeout=60
    )
    os.close(writer)
    assert (result.returncode, result.stderr) == (Exit.ERROR, "")


def test_a_saga_that_is_accepted_and_not_started_is_said_to_be_so() -> None:
    with transaction.atomic():
        saga = TableService.begin(StartTableService(table="TBL1"))
    with pytest.raises(Failed, match="has not started") as refusal:
        call_command("saga", str(saga))
    assert refusal.value.returncode == Exit.STILL_RUNNING


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (("saga", "xyz"), Exit.USAGE, "not a saga's id"),
        (("saga", str(UUID(int=7))), Exit.ERROR, "There is no saga"),
        (("saga_graph", "nope"), Exit.USAGE, "there is simple_serving, table_service"),
        (("serve_table", "no such table!"), Exit.USAGE, "letters, digits"),
        (("serve_table", "TBL1", "--order", "2 x pmghr"), Exit.USAGE, "write it like this"),
        (("serve_table", "TBL1", "--timeout", "0"), Exit.USAGE, "above 0"),
        (("serve_table",), Exit.USAGE, "required: table"),
        (("serve_table", "TBL1", "--interactive", "--json"), Exit.USAGE, "goes without --json"),
        (("serve_table", "TBL1", "--interactive"), Exit.USAGE, "needs a terminal"),
        (("serve", "nope", "TBL1"), Exit.USAGE, "there is simple_serving, table_service"),
        (("cancel_saga", "nonsense", "--reason", "x"), Exit.USAGE, "nonsense"),
        (("cancel_saga", NOBODY, "--reason", "x"), Exit.ERROR, "There is no saga"),
        (("cancel_saga", NOBODY), Exit.USAGE, "--reason"),
        (("cancel_saga", NOBODY, "--reason", ""), Exit.USAGE, "reason"),
        (("cancel_saga", NOBODY, "--reason", "x" * 501), Exit.USAGE, "reason"),
        (("decide_saga", NOBODY, "--reason", "x"), Exit.USAGE, "--write-off"),
        (("decide_saga", NOBODY, "--retry", "--write-off", "--reason", "x"), Exit.USAGE, "not allowed"),
        (("retry_messages",), Exit.USAGE, "or --dead"),
        (("retry_messages", NOBODY, "--type", "DoPizza"), Exit.USAGE, "goes with --dead"),
        (("retry_messages", "nonsense"), Exit.USAGE, "not a message's id"),
        (("retry_messages", NOBODY), Exit.ERROR, "manage.py messages"),
        (("prune_messages", "--older-than", "soon"), Exit.USAGE, "30d"),
        (("prune_messages", "--older-than", "1h"), Exit.USAGE, "1d"),
        (("start_heavy_worker", "--seconds", "0"), Exit.USAGE, "3600"),
        (("retry_messages", "--dead", "--wait", "nan"), Exit.USAGE, "from 0 on"),
        (("explore_saga", "nope"), Exit.USAGE, "table_service"),
        (("explore_saga", "table_service", "--pizzas", "0"), Exit.USAGE, "--pizzas 0 cannot be ordered"),
        (("explore_saga", "table_service", "--pizzas", "2000"), Exit.USAGE, "cannot be ordered"),
        (("explore_saga", "table_service", "--write-test", "/nowhere/x.py"), Exit.USAGE, "no folder"),
        (("explore_saga", "table_service", "--pizzas", "-1"), Exit.USAGE, "pizzas"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_refused_in_a_sentence(
    command: tuple[str, ...], code: Exit, said: str
) -> None:
    with pytest.raises(Failed, match=said) as refusal:
        call_command(*command)
    assert refusal.value.returncode == code
    assert InboxMessage.objects.count() == 0


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            OperationalError("connection refused\nmore"),
            Exit.UNREACHABLE,
            "does not answer: connection refused",
        ),
        (OperationalError("no such table: orders_tableservice"), Exit.ERROR, "manage.py migrate"),
        (ProgrammingError('relation "orders_tableservice" does not exist'), Exit.ERROR, "manage.py migrate"),
    ],
    ids=str,
)
def test_the_database_s_errors_are_put_in_words(error: Exception, code: Exit, said: str) -> None:
    class Broken(HouseCommand):
        requires_system_checks = ()

        def handle(self, **options: Any) -> None:
            raise error

    with pytest.raises(Failed, match=said) as refusal:
        call_command(Broken())
    assert refusal.value.returncode == code


def test_a_mistake_in_a_statement_is_no_matter_of_the_database() -> None:
    class Wrong(HouseCommand):
        requires_system_checks = ()

        def handle(self, **options: Any) -> None:
            raise ProgrammingError("syntax error")

    with pytest.raises(ProgrammingError):
        call_command(Wrong())


def test_a_bench_s_figures_are_a_table_for_people() -> None:
    ms = figures.Percentiles(p50=1, p95=2, p99=3)
    report = figures.Report(
        parameters=figures.Plan(400, 5, 2, 8, 32),
        machine=figures.Machine(
            cores=2,
            cpu="fast",
            python="3",
            postgresql="15",
            fsync="on",
            synchronous_commit="on",
            rabbitmq="3",
        ),
        sagas_per_second=45.0,
        messages_per_second=1080.0,
        messages_per_saga=24,
        load=figures.Durations(put_to_finish_ms=ms, saga_ms=ms),
        alone=figures.Durations(put_to_finish_ms=ms, saga_ms=ms),
        cpu_ms_per_saga=figures.Cpu(workers=20, postgresql=10, rabbitmq=None, driver=1),
        sql_statements_per_message=3,
        commits_per_message=1,
        direct=figures.Direct(
            sagas_per_second=60,
            messages_per_second=1440,
            put_to_finish_ms=ms,
            cpu_ms_per_saga=figures.Cpu(workers=10, postgresql=None, rabbitmq=5, driver=1),
        ),
        price_of_safety=1.33,
    )
    shown = Console(width=120)
    with shown.capture() as capture:
        shown.print(table(report))
    for figure in ("2 cores, fast", "45.0", "1.33", "1 / 2 / 3"):
        assert figure in capture.get()
