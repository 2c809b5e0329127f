"""`docs/add-a-scenario.md`, followed word for word in a copy of the project."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house import PROJECT, CommandFailed, Ran
from tests.servers import without_house

pytestmark = pytest.mark.without_servers

PAGE = (PROJECT / "docs" / "add-a-scenario.md").read_text(encoding="utf-8")
GRAPH = """\
stateDiagram-v2
    [*] --> billing: StartQuickDrink
    billing --> thanking: BillPaid
    needs_manager --> thanking: BillPaid, Decide
    thanking --> closed: ClientThanked
    needs_manager --> closed: ClientThanked
    thanking --> needs_manager: DeadlinePassed
    needs_manager --> billing: Decide
    billing --> needs_manager: PaymentDeclined, DeadlinePassed
    closed --> [*]
"""


def test_a_scenario_is_added_with_one_file(tmp_path: Path) -> None:
    project = copy_of_the_project(tmp_path / "project")
    (project / "orders" / "quick_drink.py").write_text(the_only("python"), encoding="utf-8")

    ran = {command: manage(project, *command.split()) for command in commands()}
    assert list(ran) == [
        "makemigrations",
        "migrate",
        "serve quick_drink BAR",
        "sagas",
        "saga_graph quick_drink",
        "explore_saga quick_drink",
    ]
    assert "Create model QuickDrink" in ran["makemigrations"].stdout
    assert "4.50 EUR" in ran["serve quick_drink BAR"].stdout
    assert "thanks the guests" in ran["serve quick_drink BAR"].stdout
    assert ran["saga_graph quick_drink"].stdout == GRAPH
    explored = ran["explore_saga quick_drink"].stdout
    assert "quick_drink: all " in explored
    assert "States of the saga: new, billing, thanking, needs_manager, closed." in explored
    assert "Nothing is wrong there." in explored

    (saga,) = json.loads(manage(project, "sagas", "--json").stdout)
    assert (saga["scenario"], saga["table"], saga["state"]) == ("quick_drink", "BAR", "closed")
    history = json.loads(manage(project, "saga", saga["saga"], "--json").stdout)["history"]
    said = [entry["type"] for entry in history if entry["kind"] in {"command", "event"}]
    assert said == ["StartQuickDrink", "ShowBill", "BillPaid", "ThankClient", "ClientThanked"]
    manage(project, "makemigrations", "--check")


def test_the_file_of_the_page_is_in_the_style_of_the_house(tmp_path: Path) -> None:
    project = copy_of_the_project(tmp_path / "project")
    file = project / "orders" / "quick_drink.py"
    file.write_text(the_only("python"), encoding="utf-8")
    tools = Path(sys.executable).parent
    run(project, str(tools / "ruff"), "check", "--no-cache", str(file))
    run(project, str(tools / "ruff"), "format", "--no-cache", "--check", str(file))
    run(project, str(tools / "lint-imports"), "--no-cache", "--no-logo")


def the_only(language: str) -> str:
    """The only block of the page in this language."""
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return str(block)


def commands() -> list[str]:
    """What the page has typed after `manage.py`."""
    typed = [line.partition("manage.py ") for line in the_only("sh").splitlines()]
    assert {before for before, _, _ in typed} == {".venv/bin/python "}
    return [after for _, _, after in typed]


def copy_of_the_project(folder: Path) -> Path:
    """What git knows of it, and what is new."""
    listed = run(PROJECT, "git", "ls-files", "-co", "--exclude-standard", "-z").stdout
    for name in filter(None, listed.split("\0")):
        if (PROJECT / name).is_file():  # not one that was removed and is not committed yet
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, folder / name)
    return folder


def manage(project: Path, *arguments: str) -> Ran:
    """Run `manage.py …` of this project, which must end with exit code 0."""
    return run(project, sys.executable, "manage.py", *arguments)


def run(folder: Path, *command: str) -> Ran:
    """Run a command in a house with nothing configured but where its SQLite file lies."""
    # The copy's lines are not the project's: they are not measured.
    kept = {name: value for name, value in without_house(os.environ).items() if "COVERAGE" not in name}
    database = f"sqlite:///{folder / 'pizzahouse.sqlite3'}"
    environment = kept | {"DATABASE_URL": database, "PIZZAHOUSE_PACE": "0"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    ran = Ran(shlex.join(command), done.returncode, done.stdout, done.stderr)
    if ran.code:
        raise CommandFailed(str(ran))
    return ran
