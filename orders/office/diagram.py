"""The state diagram of a process as inline SVG, drawn from its scenario's steps, with the way travelled.

How it looks is in `static/office/process.css`, under "The state diagram".
"""

from collections import Counter
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from orders.office.layout import FONT, LINE, Box, Edge
from orders.office.routing import Layout, Route, lay_out
from orders.office.storyline import Graph, graph_of
from orders.saga import COMPLETED, Saga


@dataclass(frozen=True)
class Way:
    """What a process has done so far."""

    travelled: tuple[Edge, ...]  # (from state, to state) of each transition made, in order
    present: str  # the state it is in
    troubled: bool = False  # something failed there, or it needs somebody


def svg(scenario: type[Saga], way: Way) -> SafeString:
    """One <svg>: the happy path as the main line, the other states below it, and where this process is."""
    graph = graph_of(scenario, way.travelled, way.present)
    return _Drawing(graph, way, lay_out(graph.line, graph.others, tuple(graph.causes))).draw()


class _Drawing:
    def __init__(self, graph: Graph, way: Way, layout: Layout) -> None:
        self.graph, self.way, self.layout = graph, way, layout
        self.times = Counter(way.travelled)
        self.passed = dict.fromkeys(state for edge in way.travelled for state in edge if state != way.present)
        self.ahead = graph.ahead(way.present, tuple(self.passed))

    def draw(self) -> SafeString:
        x, y, width, height = self.layout.frame
        edges = sorted(self.layout.routes, key=lambda edge: RANK.index(self._edge_kind(edge)))
        return format_html(
            '<svg xmlns="http://www.w3.org/2000/svg" class="saga-diagram" role="img" '
            'aria-labelledby="saga-diagram-title" aria-describedby="saga-diagram-words" '
            'viewBox="{} {} {} {}" width="{}" height="{}" font-size="{}" text-anchor="middle">'
            '<title id="saga-diagram-title">{}</title><desc id="saga-diagram-words">{}</desc>{}{}</svg>',
            *(f"{number:g}" for number in (x, y, width, height, width, height, FONT)),
            f"{self.graph.name}: {_name(self.way.present)}",
            self._words(),
            format_html_join("", "{}", ((self._edge(edge, self.layout.routes[edge]),) for edge in edges)),
            format_html_join("", "{}", ((self._state(box),) for box in self.layout.boxes.values())),
        )

    # --- Lines ------------------------------------------------------------------------------------

    def _edge_kind(self, edge: Edge) -> str:
        if edge in self.times:
            return "travelled"
        here = (self.way.present, *self.ahead)
        on_line = edge in zip(self.graph.line, self.graph.line[1:], strict=False)
        return "ahead" if on_line and edge[0] in here and edge[1] in here else "untaken"

    def _edge(self, edge: Edge, route: Route) -> SafeString:
        kind, times = self._edge_kind(edge), self.times[edge]
        title = f"{_name(edge[0])} → {_name(edge[1])}" + (f", {_times(times)}" if times else "")
        return format_html(
            '<g class="edge {}" data-from="{}" data-to="{}"><title>{}</title>'
            '<path class="reach" d="{}"/><path class="line" d="{}"/><path class="head" d="{}"/>{}</g>',
            *(kind, *edge, "\n".join([title, *self.graph.causes[edge]])),
            *(route.path, route.path, _head(route, 4.5 if times else 3.5)),
            _text("times", route.label, f"×{times}") if times > 1 else "",
        )

    # --- States -----------------------------------------------------------------------------------

    def _state_kind(self, state: str) -> str:
        if state == self.way.present:
            return "present troubled" if self.way.troubled else "present"
        return "passed" if state in self.passed else "ahead" if state in self.ahead else "untaken"

    def _state(self, box: Box) -> SafeString:
        final = box.state in self.graph.outcomes
        first = box.y + box.height / 2 - (len(box.lines) - 1) * LINE / 2 + FONT * 0.36
        return format_html(
            '<g class="state {}{}" data-state="{}">{}{}{}{}</g>',
            *(self._state_kind(box.state), " final" if final else "", box.state),
            _rectangle("box", box, 0),
            _rectangle("inner", box, 4) if final else "",
            format_html_join(
                "",
                "{}",
                ((_text("name", (box.middle, first + n * LINE), line),) for n, line in enumerate(box.lines)),
            ),
            self._mark(box) if box.state == self.way.present else "",
        )

    def _mark(self, box: Box) -> SafeString:
        """The badge of the present state: "!" where it is in trouble, a tick where it is completed, a
        square at any other end, a dot while it runs."""
        outcome = self.graph.outcomes.get(box.state)
        sign = "!" if self.way.troubled else "●" if outcome is None else "✓" if outcome == COMPLETED else "■"
        badge = format_html(
            '<circle class="badge" cx="{}" cy="{}" r="9"/>', f"{box.x + 3:g}", f"{box.y - 1:g}"
        )
        return badge + _text("sign", (box.x + 3, box.y + 3.5), sign)

    # --- In words ---------------------------------------------------------------------------------

    def _words(self) -> str:
        """The same in words, for those who do not see it."""
        present, entered = self.way.present, Counter(target for _, target in self.way.travelled)
        words = []
        if self.passed:
            named = (_name(s) + (f" ({_times(entered[s])})" if entered[s] > 1 else "") for s in self.passed)
            words.append(f"It has passed {', '.join(named)}.")
        often = f", {_times(entered[present])}" if entered[present] > 1 else ""
        words.append(f"It is in {_name(present)}{often}.")
        if self.way.troubled:
            words.append("Something failed there, or it needs somebody.")
        if present in self.graph.outcomes:
            words.append(f"This is its end: {self.graph.outcomes[present]}.")
        elif self.ahead:
            words.append(f"If all goes well, there remain {', '.join(map(_name, self.ahead))}.")
        elif self.graph.lost(present) and self.graph.line[-1] in self.graph.outcomes:
            words.append("It cannot end well any more.")
        return " ".join(words)


RANK = ("untaken", "ahead", "travelled")  # what is drawn later lies above


def _name(state: str) -> str:
    return state.replace("_", " ")


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _text(kind: str, at: tuple[float, float], text: str) -> SafeString:
    return format_html('<text class="{}" x="{}" y="{}">{}</text>', kind, f"{at[0]:g}", f"{at[1]:g}", text)


def _rectangle(kind: str, box: Box, inset: float) -> SafeString:
    numbers = (box.x + inset, box.y + inset, box.width - 2 * inset, box.height - 2 * inset, 10 - inset)
    return format_html(
        '<rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="{}"/>',
        kind,
        *(f"{number:g}" for number in numbers),
    )


def _head(route: Route, half: float) -> str:
    """A triangle whose tip touches the box."""
    (x, y), (across, down) = route.tip, route.towards
    back_x, back_y = x - across * 2 * half, y - down * 2 * half
    return (
        f"M{x:g} {y:g}L{back_x + down * half:g} {back_y + across * half:g}"
        f"L{back_x - down * half:g} {back_y - across * half:g}Z"
    )
