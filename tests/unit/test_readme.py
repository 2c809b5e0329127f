"""What the README shows is what there is."""

import re
from io import StringIO
from pathlib import Path

from django.core.management import call_command, get_commands

from orders.graph import mermaid
from orders.table_service import TableService

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


def test_its_diagram_is_drawn_from_the_code() -> None:
    shown = re.search(r"```mermaid\n(.*?)\n```", README, re.DOTALL)
    assert shown is not None
    assert shown.group(1) == mermaid(TableService)
    drawn = StringIO()
    call_command("saga_graph", "table_service", stdout=drawn)
    assert drawn.getvalue().strip() == shown.group(1)


def test_its_commands_exist() -> None:
    named = set(re.findall(r"manage\.py (\w+)", README))
    assert {"serve_table", "sagas", "saga", "rundramatiq", "bench"} <= named
    assert named <= set(get_commands())


def test_its_make_targets_exist() -> None:
    makefile = (Path(__file__).resolve().parents[2] / "Makefile").read_text()
    for target in re.findall(r"`make ([\w-]+)`", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_whole_process_is_one_short_file() -> None:
    lines = (Path(__file__).resolve().parents[2] / "orders" / "table_service.py").read_text().splitlines()
    assert len(lines) < 150
