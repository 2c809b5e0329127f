"""What the README and the docs show is what there is."""

import re
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command, get_commands

from orders.graph import mermaid
from orders.table_service import TableService

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
PAGES = {path.relative_to(ROOT): path.read_text() for path in (ROOT / "README.md", *ROOT.glob("docs/*.md"))}


@pytest.mark.parametrize("page", ["README.md", "docs/saga.md"])
def test_its_diagram_is_drawn_from_the_code(page: str) -> None:
    shown = re.search(r"```mermaid\n(.*?)\n```", PAGES[Path(page)], re.DOTALL)
    assert shown is not None
    assert shown.group(1) == mermaid(TableService)
    drawn = StringIO()
    call_command("saga_graph", "table_service", stdout=drawn)
    assert drawn.getvalue().strip() == shown.group(1)


def test_its_commands_exist() -> None:
    named = set(re.findall(r"manage\.py (\w+)", README))
    assert {"serve_table", "sagas", "saga", "rundramatiq", "bench"} <= named
    for text in PAGES.values():
        assert set(re.findall(r"manage\.py (\w+)", text)) <= set(get_commands())


def test_the_readme_names_every_command_of_the_house() -> None:
    ours = {name for name, app in get_commands().items() if app in ("orders", "pizzahouse.messaging")}
    assert ours <= set(re.findall(r"manage\.py (\w+)", README))


def test_every_link_leads_somewhere() -> None:
    for page, text in PAGES.items():
        for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
            assert (ROOT / page.parent / link).exists(), f"{page}: {link}"


def test_every_variable_of_the_settings_is_in_the_readme() -> None:
    settings = (ROOT / "pizzahouse" / "settings.py").read_text()
    for name in re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', settings):
        assert f"`{name}`" in README, name


def test_its_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([\w-]+)`", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_whole_process_is_one_short_file() -> None:
    lines = (ROOT / "orders" / "table_service.py").read_text().splitlines()
    assert len(lines) < 260
