"""The state diagram of a process: what it shows, and that it can be read."""

import re
from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Any, ClassVar
from xml.etree import ElementTree as ET

import pytest
from django.test.utils import isolate_apps
from hypothesis import given
from hypothesis import strategies as st

from orders.contracts import Decide
from orders.office.diagram import Way, svg
from orders.office.layout import Box, Edge, text_width
from orders.office.routing import Layout, lay_out
from orders.office.storyline import graph_of
from orders.saga import Saga, scenarios
from orders.simple_serving import SimpleServing
from orders.steps import NEW, step
from orders.table_service import BAKING, BILLING, CALLED_OFF, CLOSED, NEEDS_MANAGER, RECALLING, TableService

SVG = "{http://www.w3.org/2000/svg}"
HAPPY = (
    "new started getting_menu showing_menu ordering baking serving billing thanking closed".split()  # noqa: SIM905
)
TO_BAKING = tuple(pairwise(HAPPY[: HAPPY.index(BAKING) + 1]))
TO_THE_END = tuple(pairwise(HAPPY))
MALICIOUS = "<script>\"&'"
every_scenario = pytest.mark.parametrize("scenario", scenarios(), ids=lambda scenario: scenario.label())


def drawn(way: Way, scenario: type[Saga] = TableService) -> ET.Element:
    return ET.fromstring(svg(scenario, way))


def fresh(scenario: type[Saga] = TableService) -> ET.Element:
    return drawn(Way((), NEW), scenario)


def groups(picture: ET.Element, kind: str) -> list[ET.Element]:
    return [group for group in picture.iter(f"{SVG}g") if kind in group.attrib["class"].split()]


def states(picture: ET.Element, kind: str) -> set[str]:
    """The states that are drawn so."""
    found = [group for group in groups(picture, "state") if kind in group.attrib["class"].split()]
    return {group.attrib["data-state"] for group in found}


def edges(picture: ET.Element, kind: str) -> set[Edge]:
    """The lines that are drawn so: from state, to state."""
    found = [group for group in groups(picture, "edge") if kind in group.attrib["class"].split()]
    return {(group.attrib["data-from"], group.attrib["data-to"]) for group in found}


def state(picture: ET.Element, name: str) -> ET.Element:
    [group] = [each for each in groups(picture, "state") if each.attrib["data-state"] == name]
    return group


def kinds(picture: ET.Element, name: str) -> set[str]:
    return set(state(picture, name).attrib["class"].split()) - {"state"}


def times(picture: ET.Element) -> dict[Edge, str]:
    """What stands at its lines."""
    return {
        (group.attrib["data-from"], group.attrib["data-to"]): text.text or ""
        for group in groups(picture, "edge")
        for text in group.iter(f"{SVG}text")
    }


def sign(picture: ET.Element, name: str) -> str:
    return "".join(text.text or "" for text in state(picture, name) if text.attrib.get("class") == "sign")


def words(picture: ET.Element) -> str:
    return picture.findtext(f"{SVG}desc", "")


def layout_of(scenario: type[Saga]) -> Layout:
    graph = graph_of(scenario)
    return lay_out(graph.line, graph.others, tuple(graph.causes))


# --- All of it is there ---------------------------------------------------------------------------


@every_scenario
def test_every_state_and_every_step_of_a_scenario_is_drawn_once(scenario: type[Saga]) -> None:
    picture = fresh(scenario)
    steps = scenario.steps().values()
    changes = {(each.source, target) for each in steps for target in each.targets}
    assert edges(picture, "edge") == changes
    assert len(groups(picture, "edge")) == len(changes)
    named = [group.attrib["data-state"] for group in groups(picture, "state")]
    assert sorted(named) == sorted({state for change in changes for state in change})


@every_scenario
def test_each_line_names_the_messages_and_the_steps_that_it_stands_for(scenario: type[Saga]) -> None:
    titles = {
        (group.attrib["data-from"], group.attrib["data-to"]): group.findtext(f"{SVG}title", "")
        for group in groups(fresh(scenario), "edge")
    }
    for each in scenario.steps().values():
        for target in each.targets:
            assert f"\n{each.on.__name__}: {each.method}" in titles[each.source, target]


def test_the_main_line_is_the_happy_path() -> None:
    assert list(graph_of(TableService).line) == HAPPY
    assert graph_of(SimpleServing).line == (NEW, "getting_menu", "ordering", "billing", "thanking", "closed")


@every_scenario
def test_final_states_have_a_double_frame(scenario: type[Saga]) -> None:
    assert states(fresh(scenario), "final") == set(scenario.outcomes)
    assert len(list(state(fresh(scenario), CLOSED).iter(f"{SVG}rect"))) == 2


# --- Where it is, how it came there, and what remains ---------------------------------------------


def test_at_the_beginning_all_of_the_happy_path_lies_ahead() -> None:
    picture = fresh()
    assert states(picture, "present") == {NEW}
    assert states(picture, "ahead") == set(HAPPY[1:])
    assert edges(picture, "ahead") == set(pairwise(HAPPY))
    assert states(picture, "untaken") == {RECALLING, "apologizing", CALLED_OFF, NEEDS_MANAGER}
    assert not edges(picture, "travelled")


def test_half_way_what_was_passed_what_is_and_what_remains_look_different() -> None:
    picture = drawn(Way(TO_BAKING, BAKING))
    assert kinds(picture, BAKING) == {"present"}
    assert states(picture, "passed") == set(HAPPY[: HAPPY.index(BAKING)])
    assert states(picture, "ahead") == {"serving", "billing", "thanking", CLOSED}
    assert edges(picture, "travelled") == set(TO_BAKING)
    assert edges(picture, "ahead") == set(pairwise(HAPPY[HAPPY.index(BAKING) :]))
    assert sign(picture, BAKING) == "●"


def test_a_way_that_was_travelled_often_is_counted() -> None:
    picture = drawn(Way((*TO_BAKING, *[(BAKING, BAKING)] * 4), BAKING))
    assert times(picture) == {(BAKING, BAKING): "×4"}
    assert "It is in baking, 5 times." in words(picture)


def test_trouble_is_marked_where_it_is() -> None:
    picture = drawn(Way(TO_BAKING, BAKING, troubled=True))
    assert kinds(picture, BAKING) == {"present", "troubled"}
    assert sign(picture, BAKING) == "!"
    assert "Something failed there, or it needs somebody." in words(picture)


def test_beside_the_happy_path_what_follows_the_last_of_it_lies_ahead() -> None:
    travelled = (*TO_BAKING, (BAKING, RECALLING))
    picture = drawn(Way(travelled, RECALLING))
    assert states(picture, "present") == {RECALLING}
    assert states(picture, "ahead") == {"serving", "billing", "thanking", CLOSED}
    stopped = drawn(Way((*TO_THE_END[:-2], (BILLING, NEEDS_MANAGER)), NEEDS_MANAGER))
    assert states(stopped, "ahead") == {"thanking", CLOSED}


def test_an_end_has_nothing_ahead_of_it() -> None:
    closed = drawn(Way(TO_THE_END, CLOSED))
    assert (states(closed, "ahead"), edges(closed, "ahead")) == (set(), set())
    assert kinds(closed, CLOSED) == {"present", "final"}
    assert sign(closed, CLOSED) == "✓"
    called_off = drawn(
        Way(((NEW, "started"), ("started", "apologizing"), ("apologizing", CALLED_OFF)), CALLED_OFF)
    )
    assert states(called_off, "ahead") == set()
    assert sign(called_off, CALLED_OFF) == "■"


def test_what_cannot_end_well_any_more_has_nothing_ahead_of_it() -> None:
    picture = drawn(Way(((NEW, "started"), ("started", "apologizing")), "apologizing"))
    assert states(picture, "ahead") == set()
    assert "It cannot end well any more." in words(picture)


def test_the_words_say_what_the_picture_shows() -> None:
    picture = drawn(Way(TO_BAKING, BAKING))
    assert picture.findtext(f"{SVG}title") == "Table service: baking"
    assert words(picture) == (
        "It has passed new, started, getting menu, showing menu, ordering. It is in baking."
        " If all goes well, there remain serving, billing, thanking, closed."
    )
    assert "This is its end: completed." in words(drawn(Way(TO_THE_END, CLOSED)))
    ids = {picture.find(f"{SVG}title"), picture.find(f"{SVG}desc")}
    named = {picture.attrib["aria-labelledby"], picture.attrib["aria-describedby"]}
    assert {each.attrib["id"] for each in ids if each is not None} == named
    assert picture.attrib["role"] == "img"


# --- What no code knows any more ------------------------------------------------------------------


def test_states_and_changes_that_no_code_knows_any_more_are_drawn_too() -> None:
    picture = drawn(Way(((NEW, "waiting_for_a_table"), ("waiting_for_a_table", "started")), "started"))
    assert kinds(picture, "waiting_for_a_table") == {"passed"}
    assert edges(picture, "travelled") == {(NEW, "waiting_for_a_table"), ("waiting_for_a_table", "started")}
    [gone] = [group for group in groups(picture, "travelled") if group.attrib["data-to"] == "started"]
    assert "no step of today" in gone.findtext(f"{SVG}title", "")


def test_a_process_in_a_state_that_no_code_knows_is_shown_there() -> None:
    picture = drawn(Way((), "waiting_for_a_table"))
    assert states(picture, "present") == {"waiting_for_a_table"}
    assert "It cannot end well any more." in words(picture)


def test_whatever_a_state_is_called_the_picture_is_well_formed() -> None:
    picture = drawn(Way(((NEW, MALICIOUS),), MALICIOUS))
    assert states(picture, "present") == {MALICIOUS}
    assert "<script" not in svg(TableService, Way(((NEW, MALICIOUS),), MALICIOUS))


def test_a_state_without_a_name_is_drawn() -> None:
    assert states(drawn(Way((), "")), "present") == {""}


# --- It can be read -------------------------------------------------------------------------------


def test_the_same_way_is_always_the_same_picture() -> None:
    first = svg(TableService, Way(TO_BAKING, BAKING))
    lay_out.cache_clear()
    assert svg(TableService, Way(TO_BAKING, BAKING)) == first


@every_scenario
def test_the_layout_of_a_scenario_can_be_read(scenario: type[Saga]) -> None:
    check(layout_of(scenario))


@every_scenario
def test_no_line_of_a_scenario_runs_through_a_box(scenario: type[Saga]) -> None:
    layout = layout_of(scenario)
    for edge, route in layout.routes.items():
        for point in along(corners(route.path)):
            inside = [box.state for box in layout.boxes.values() if _contains(box, point, margin=-1)]
            assert not inside, f"{edge} runs through {inside}"


def test_lines_of_a_scenario_that_lead_elsewhere_do_not_lie_upon_each_other() -> None:
    layout = layout_of(TableService)
    lines = {edge: set(along(corners(route.path))) for edge, route in layout.routes.items()}
    for (a, b), (c, d) in combinations(lines, 2):
        if not {a, b} & {c, d}:
            shared = lines[a, b] & lines[c, d]
            assert len(shared) <= 2, f"{a} → {b} and {c} → {d}"


def test_names_are_as_wide_as_any_sans_serif_writes_them() -> None:
    assert text_width("needs") < text_width("manager") < text_width("MANAGER")
    assert text_width("iii") < text_width("mmm")
    assert text_width("") == 0


@given(st.integers(2, 14), st.integers(0, 12), st.data())
def test_any_layout_can_be_read(on_line: int, beside: int, data: st.DataObject) -> None:
    line = tuple(f"state_{n}" for n in range(on_line))
    others = tuple(f"another_state_{n}" for n in range(beside))
    any_state = st.sampled_from([*line, *others])
    more = data.draw(st.lists(st.tuples(any_state, any_state), max_size=25, unique=True))
    check(lay_out(line, others, tuple(dict.fromkeys([*pairwise(line), *more]))))


def check(layout: Layout) -> None:
    """Boxes stand apart, and hold their names; lines begin and end at boxes; all is in the picture."""
    for a, b in combinations(layout.boxes.values(), 2):
        apart = a.right < b.x or b.right < a.x or a.bottom < b.y or b.bottom < a.y
        assert apart, f"{a.state} and {b.state} overlap"
    for box in layout.boxes.values():
        assert box.x + 1 <= box.middle - max(map(text_width, box.lines)) / 2, (
            f"{box.state}: its name is wider"
        )
        assert len(box.lines) * 16 < box.height, f"{box.state}: its name is higher"
    x, y, width, height = layout.frame
    for (source, target), route in layout.routes.items():
        points = corners(route.path)
        assert _at_edge(layout.boxes[source], points[0]), f"{source} → {target} begins elsewhere"
        assert _at_edge(layout.boxes[target], route.tip), f"{source} → {target} ends elsewhere"
        assert not any(_contains(box, route.label, 0) for box in layout.boxes.values())
        assert abs(route.tip[0] - points[-1][0]) + abs(route.tip[1] - points[-1][1]) <= 8
        if source != target:
            straight = all(
                abs(ax - bx) < 0.01 or abs(ay - by) < 0.01 for (ax, ay), (bx, by) in pairwise(points)
            )
            assert straight, f"{source} → {target} runs aslant"
        assert all(x <= px <= x + width and y <= py <= y + height for px, py in points)
    assert all(
        x <= box.x and box.right <= x + width and y <= box.y and box.bottom <= y + height
        for box in layout.boxes.values()
    )


Point = tuple[float, float]


def corners(path: str) -> list[Point]:
    """The points that a path runs along; a bend counts as the corner that it rounds."""
    points: list[Point] = []
    for command, numbers in re.findall(r"([MLHQC])([^MLHQC]*)", path):
        values = [float(number) for number in numbers.split()]
        if command == "H":
            points.append((values[0], points[-1][1]))
        else:
            points += list(zip(values[::2], values[1::2], strict=True))
    return points


def along(points: Sequence[Point]) -> list[Point]:
    """Points on the lines between these, some pixels from each other."""
    found = []
    for (x, y), (end_x, end_y) in pairwise(points):
        parts = max(int(max(abs(end_x - x), abs(end_y - y)) // 4), 1)
        found += [(x + (end_x - x) * n / parts, y + (end_y - y) * n / parts) for n in range(parts + 1)]
    return [(round(x), round(y)) for x, y in found]


def _contains(box: Box, point: Point, margin: float) -> bool:
    x, y = point
    return box.x - margin < x < box.right + margin and box.y - margin < y < box.bottom + margin


def _at_edge(box: Box, point: Point) -> bool:
    return _contains(box, point, 0.5) and not _contains(box, point, -0.5)


# --- Scenarios of all kinds -----------------------------------------------------------------------


@isolate_apps("orders")
def test_a_scenario_that_only_a_human_completes_has_a_line_all_the_same() -> None:
    class Petition(Saga):
        outcomes: ClassVar[dict[str, str]] = {"granted": "granted"}
        for_humans: ClassVar[frozenset[str]] = frozenset({"on_the_desk"})

        class Meta(Saga.Meta):
            app_label = "orders"
            indexes: ClassVar[list[Any]] = []

        @step(on=Decide, source=NEW, target="on_the_desk")
        def put_on_the_desk(self, command: Decide) -> None: ...

        @step(on=Decide, source="on_the_desk", target="granted")
        def grant(self, command: Decide) -> None: ...

    assert graph_of(Petition).line == (NEW, "on_the_desk", "granted")
    assert states(drawn(Way((), NEW), Petition), "ahead") == {"on_the_desk", "granted"}


@isolate_apps("orders")
def test_a_scenario_without_a_step_is_one_box() -> None:
    class Nothing(Saga):
        class Meta(Saga.Meta):
            app_label = "orders"
            indexes: ClassVar[list[Any]] = []

    picture = drawn(Way((), NEW), Nothing)
    assert [group.attrib["data-state"] for group in groups(picture, "state")] == [NEW]
    assert words(picture) == "It is in new."
