"""What the explorer found is kept, and read in the manager's office."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from orders.cli import Exit
from orders.explorer import findings
from orders.explorer.explore import explore
from orders.explorer.worlds import Bounds, Explored
from orders.office.models import MOST_REPORTS, ExplorerReport
from orders.office.reports import duration
from orders.simple_serving import SimpleServing
from orders.steps import table_of
from tests.house import PROJECT
from tests.servers import without_house
from tests.unit.office import as_text, text_of

pytestmark = pytest.mark.django_db
REPORTS = reverse("admin:office_explorerreport_changelist")
QUICK = ("simple_serving", "--pizzas", "1", "--troubles", "0")


@pytest.fixture(scope="module")
def stuck(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Explored:
    """What is found where a state has no deadline, and an answer is lost."""
    patch = pytest.MonkeyPatch()
    table = {
        key: step._replace(within=None) if "ordering" in step.targets else step
        for key, step in table_of(SimpleServing).items()
    }
    patch.setattr(SimpleServing, "steps", classmethod(lambda _scenario: table))
    bounds = Bounds(*[0] * len(Bounds._fields))._replace(losses=1, troubles=1)
    with django_db_blocker.unblock():
        explored = explore(SimpleServing, pizzas=1, bounds=bounds)
    patch.undo()
    assert explored.findings
    return explored


def kept(explored: Explored, **parameters: int) -> ExplorerReport:
    return ExplorerReport.keep(findings.document(explored), parameters, 83.4)


def page_of(client: Client, report: ExplorerReport) -> str:
    return text_of(client, reverse("admin:office_explorerreport_change", args=[report.pk]))


# --- The command ----------------------------------------------------------------------------------


def test_the_command_keeps_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("explore_saga", *QUICK, "--json", "--keep")
    said = json.loads(capsys.readouterr().out)
    report = ExplorerReport.objects.get()
    assert (report.scenario, report.complete, report.findings) == ("simple_serving", True, [])
    assert (report.worlds, report.moves) == (said["worlds"], said["moves"])
    assert (report.handler_runs, report.saga_states) == (said["handler_runs"], said["saga_states"])
    assert report.parameters == {"pizzas": 1, "stock": 1, **said["bounds"]}
    assert round(report.seconds, 1) == said["seconds"]


def test_without_being_told_it_keeps_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("explore_saga", *QUICK)
    assert "Nothing is wrong" in capsys.readouterr().out
    assert not ExplorerReport.objects.exists()


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "manage.py", "explore_saga", *QUICK, *arguments]
    environ = without_house(os.environ) | environment
    return subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, env=environ, check=False)


def test_in_a_database_in_memory_nothing_can_be_kept() -> None:
    ran = run("--keep", DATABASE_URL="sqlite://:memory:")
    assert ran.returncode == Exit.USAGE
    assert "DATABASE_URL names a database in memory" in ran.stderr
    assert ran.stdout == ""


def test_in_an_embedded_house_it_is_kept_in_its_file(tmp_path: Path) -> None:
    ran = run("--keep", DATABASE_URL=f"sqlite:///{tmp_path / 'house.sqlite3'}")
    assert ran.returncode == 0, ran.stderr
    assert "as report 1" in ran.stderr
    assert "Nothing is wrong there." in ran.stdout


# --- What is kept ---------------------------------------------------------------------------------


def test_of_the_same_scenario_and_parameters_only_the_newest_is_kept(stuck: Explored) -> None:
    for pizzas in (1, 2, 1):
        newest = kept(stuck, pizzas=pizzas, losses=1)
    assert [report.parameters["pizzas"] for report in ExplorerReport.objects.all()] == [1, 2]
    assert ExplorerReport.objects.first() == newest


def test_at_most_twenty_are_kept(stuck: Explored) -> None:
    for pizzas in range(MOST_REPORTS + 2):
        kept(stuck, pizzas=pizzas)
    sizes = [report.parameters["pizzas"] for report in ExplorerReport.objects.all()]
    assert sizes == list(range(MOST_REPORTS + 1, 1, -1))


# --- The pages ------------------------------------------------------------------------------------


def test_the_list_says_what_came_of_each(operator: Client, stuck: Explored) -> None:
    kept(stuck, pizzas=1, losses=1)
    call_command("explore_saga", *QUICK, "--keep")
    text = text_of(operator, REPORTS)
    assert "1 finding" in text
    assert "nothing is wrong" in text
    assert "pizzas 1, losses 1" in text
    assert "1 minute, 23 seconds" in text


def test_the_page_tells_what_is_wrong_and_the_way_there(operator: Client, stuck: Explored) -> None:
    report = kept(stuck, pizzas=1, losses=1)
    text = page_of(operator, report)
    [finding] = stuck.findings
    assert f"{finding.what} {finding.detail}" in text
    assert f"A shortest way there handles {finding.messages} messages:" in text
    moves = [as_text(str(move)).strip() for move in finding.way]
    assert "PlaceOrder is lost" in moves or "OrderPlaced is lost" in moves
    assert " ".join(moves) in text
    assert "sequenceDiagram" in text
    assert f"All {stuck.worlds:,} states of the whole house" in text


def test_the_page_tells_which_states_were_reached(operator: Client, stuck: Explored) -> None:
    report = kept(stuck)
    report.saga_states = ["new", "getting_menu", "ordering"]
    report.save()
    text = page_of(operator, report)
    assert "2 of 8 were reached, not: billing, thanking," in text


def test_the_page_says_what_was_asked_for(operator: Client, stuck: Explored) -> None:
    text = page_of(operator, kept(stuck, pizzas=1, losses=7))
    assert "losses 7 messages that are lost, until somebody asks again" in text


def test_what_was_not_looked_at_to_the_end_is_said_to_prove_nothing(operator: Client) -> None:
    report = kept(explore(SimpleServing, pizzas=1, most=10))
    assert not report.complete
    assert "proves nothing Only the first" in page_of(operator, report)


def test_a_report_of_a_scenario_that_is_gone_is_still_shown(operator: Client, stuck: Explored) -> None:
    report = kept(stuck)
    report.scenario = "quick_drink"
    report.save()
    assert "There is no such scenario any more. It came to: " in page_of(operator, report)


def test_what_is_kept_is_shown_as_it_is(operator: Client, stuck: Explored) -> None:
    report = kept(stuck)
    report.findings[0]["detail"] = "<script>1</script>"
    report.save()
    url = reverse("admin:office_explorerreport_change", args=[report.pk])
    assert "&lt;script&gt;1&lt;/script&gt;" in operator.get(url).content.decode()


def test_who_may_not_see_reports_sees_none(stuck: Explored, django_user_model: Any, client: Client) -> None:
    client.force_login(django_user_model.objects.create_user("guest", is_staff=True))
    url = reverse("admin:office_explorerreport_change", args=[kept(stuck).pk])
    assert client.get(url).status_code == client.get(REPORTS).status_code == 403


def test_nothing_can_be_changed(operator: Client, stuck: Explored) -> None:
    report = kept(stuck)
    delete = reverse("admin:office_explorerreport_delete", args=[report.pk])
    add = reverse("admin:office_explorerreport_add")
    assert operator.post(delete).status_code == operator.post(add).status_code == 403


def test_a_report_that_a_newer_one_replaced_is_not_found(operator: Client) -> None:
    assert operator.get(reverse("admin:office_explorerreport_change", args=[1])).status_code == 404


@pytest.mark.parametrize(
    ("seconds", "read"), [(0.44, "0.4 seconds"), (60, "1 minute, 0 seconds"), (3725, "62 minutes, 5 seconds")]
)
def test_a_duration_is_in_words(seconds: float, read: str) -> None:
    assert duration(seconds) == read
