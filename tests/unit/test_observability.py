"""docs/observability.md and docs/grafana.json say what is on the page of the metrics, and nothing else."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from pizzahouse.messaging import figures

pytestmark = pytest.mark.django_db
DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "observability.md").read_text()
DASHBOARD = json.loads((DOCS / "grafana.json").read_text())
NAME = re.compile(r"\b(?:messaging|sagas)_\w+")
PARTS = {"counter": ("_total",), "gauge": ("",), "histogram": ("", "_bucket", "_count", "_sum")}
# Rows of the documentation's table: names, type, labels.
ROW = re.compile(r"^\| (`(?:messaging|sagas)_.*?) \| (\w+) \| (.*?) ?\| ", re.MULTILINE)


def families() -> list[Metric]:
    """Those of the house: prometheus_client's own come and go with the process."""
    text = (generate_latest(REGISTRY) + generate_latest(figures.registry)).decode()
    return [each for each in text_string_to_metric_families(text) if NAME.match(each.name)]


def names() -> set[str]:
    """What can be asked for."""
    return {family.name + part for family in families() for part in PARTS[family.type]}


def named(text: str) -> set[str]:
    """What a text names, but for what begins so."""
    return set(NAME.findall(text))


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def test_every_figure_of_the_page_is_in_the_documentation_with_its_type_and_its_labels() -> None:
    told = {
        name: (kind, set(re.findall(r"`(\w+)`", labels)))
        for cell, kind, labels in ROW.findall(PAGE)
        for name in re.findall(r"`(\w+)`", cell)
    }
    assert told == {
        family.name + PARTS[family.type][0]: (family.type, _labels(family)) for family in families()
    }


def _labels(family: Metric) -> set[str]:
    return {label for sample in family.samples for label in sample.labels} - {"le"}


def test_what_the_documentation_and_the_dashboard_name_is_on_the_page() -> None:
    assert named(PAGE) - names() == set()
    assert named(json.dumps(DASHBOARD)) - names() == set()


def test_the_dashboard_shows_all_that_an_operator_asks_for() -> None:
    asked = named(" ".join(queries()))
    assert names() - asked == {"messaging_handling_seconds"}  # by its parts
    for share in ("0.50", "0.95", "0.99"):
        assert any(f"histogram_quantile({share}," in query for query in queries())


def test_the_dashboard_can_be_imported_whatever_the_name_of_the_datasource() -> None:
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    assert DASHBOARD["id"] is None
    assert DASHBOARD["schemaVersion"] >= 39
    sources = [each["datasource"] for panel in panels() for each in (panel, *panel["targets"])]
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)
    used = set(re.findall(r"\$(\w+)", " ".join(queries()))) - {"__rate_interval"}
    assert used == variables.keys() - {"datasource"}


def test_the_dashboards_panels_have_room_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        x, y, width, height = (panel["gridPos"][side] for side in "xywh")
        place = {(column, line) for column in range(x, x + width) for line in range(y, y + height)}
        assert x + width <= 24, panel["title"]
        assert not taken & place, panel["title"]
        taken |= place
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_what_all_web_servers_read_from_one_database_is_not_added_up() -> None:
    from_database = {family.name for family in figures.registry.collect()}
    for query in queries():
        for name in named(query) & from_database:
            assert re.search(rf"(max|min)( by \([\w, ]+\))? ?\({name}", query), query
