"""How the lines of a diagram run: along tracks between the rows of boxes and past their ends.

Lines that lead to one state beside the main line, or from it, share a track. The tracks between two rows
stand in the order that crosses few lines, as in channel routing (Hashimoto and Stevens, 1971).
"""

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from orders.office.layout import PORT, Box, Edge, Net, net_of, place
from orders.office.tracks import Ends, Point, Spans, least_crossing, levels, rounded

Channel = int  # the one above the row of this number

MARGIN, TRACK, HEAD = 22.0, 9.0, 7.0
TOP, BOTTOM = -1, 1


@dataclass(frozen=True)
class Route:
    """A line: its path, where its arrow head points and to which side, and where its number stands."""

    path: str
    tip: Point
    towards: Point
    label: Point


@dataclass(frozen=True)
class Layout:
    """Everything a diagram shows: boxes by state, lines by edge, and the rectangle around them."""

    boxes: dict[str, Box]
    routes: dict[Edge, Route]
    frame: tuple[float, float, float, float]  # x, y, width, height


@lru_cache(maxsize=128)  # the same for all processes of a scenario
def lay_out(line: tuple[str, ...], others: tuple[str, ...], edges: tuple[Edge, ...]) -> Layout:
    """The states of the main line, the others, and the edges between any of them."""
    return _Router(place(line, others, edges), set(others), edges).layout()


class _Router:
    def __init__(self, rows: list[list[Box]], others: set[str], edges: tuple[Edge, ...]) -> None:
        self.rows, self.others = rows, others
        self.boxes = {box.state: box for row in rows for box in row}
        self.edges = dict.fromkeys(edges)
        neighbours = {frozenset((a.state, b.state)) for row in rows for a, b in pairwise(row)}
        self.straight = self._straight(neighbours)
        routed = [edge for edge in self.edges if edge[0] != edge[1] and edge not in self.straight]
        self.nets = {edge: net_of(*edge, others) for edge in routed}
        self.ports = self._ports()
        self.lanes = self._lanes()
        self.tracks: dict[tuple[Net, Channel], float] = {}

    def layout(self) -> Layout:
        height = self._stack()
        routes = {edge: self._route(*edge) for edge in self.edges}
        left = min([0.0, *self.lanes.values()]) - 12
        right = max([*(box.right for box in self.boxes.values()), *self.lanes.values()]) + 12
        return Layout(self.boxes, routes, (left, 0, right - left, height))

    def _straight(self, neighbours: set[frozenset[str]]) -> set[Edge]:
        """Edges between two neighbours: of there and back, the one that goes on."""
        found = [edge for edge in self.edges if frozenset(edge) in neighbours]
        found.sort(
            key=lambda edge: edge[0] not in self.others and self.boxes[edge[0]].x > self.boxes[edge[1]].x
        )
        return {edge for n, edge in enumerate(found) if edge[::-1] not in found[:n]}

    def _ends(self, source: str, target: str) -> tuple[int, int, Channel, Channel]:
        """The side it leaves, the side it enters, and the channels there."""
        a, b = self.boxes[source].row, self.boxes[target].row
        if b > a:
            return BOTTOM, TOP, a + 1, b
        return (TOP, TOP, a, a) if a == b else (TOP, BOTTOM, a, b + 1)

    def _ports(self) -> dict[tuple[str, int, Net], float]:
        """Where on a side of a box the lines of a net end: those that come from the left on the left."""
        far: dict[tuple[str, int], dict[Net, list[float]]] = defaultdict(lambda: defaultdict(list))
        for (a, b), net in self.nets.items():
            leaves, enters, _, _ = self._ends(a, b)
            far[a, leaves][net].append(self.boxes[b].middle)
            far[b, enters][net].append(self.boxes[a].middle)
        ports = {}
        for (state, side), nets in far.items():
            box = self.boxes[state]
            loop = 20 if (state, state) in self.edges and side == self._loop_side(state) else 0
            pitch = min(2 * PORT, (box.width - PORT - loop) / len(nets))
            first = box.middle - loop / 2 - pitch * (len(nets) - 1) / 2
            off = PORT / 2 if side == TOP else 0  # so that lines from above and from below never meet
            for n, net in enumerate(sorted(nets, key=lambda net: sum(nets[net]) / len(nets[net]))):
                ports[state, side, net] = round((first + n * pitch - off) / PORT) * PORT + off
        return ports

    def _loop_side(self, state: str) -> int:
        return BOTTOM if state in self.others else TOP

    def _lanes(self) -> dict[Net, float]:
        """For each net that has to pass a row, where it does: left or right of all boxes."""
        spans: dict[Net, set[float]] = defaultdict(set)
        for edge, net in self.nets.items():
            _, _, first, last = self._ends(*edge)
            if first != last:
                spans[net] |= {first, last}
        right = max(box.right for box in self.boxes.values())
        sides: tuple[Spans, Spans] = ({}, {})
        for net, channels in spans.items():
            ends = {state for edge, each in self.nets.items() if each == net for state in edge}
            middle = sum(self.boxes[state].middle for state in ends) / len(ends)
            sides[middle > right / 2][net] = (min(channels), max(channels))
        lanes = {net: -18 - TRACK * level for net, level in levels(sides[0]).items()}
        return lanes | {net: right + 18 + TRACK * level for net, level in levels(sides[1]).items()}

    def _stack(self) -> float:
        """Give each channel its tracks, and so each row its place; returns the height of all."""
        y = 0.0
        for channel in range(len(self.rows) + 1):
            used = self._channel(channel)
            for net, level in used.items():
                self.tracks[net, channel] = y + MARGIN + level * TRACK
            y += 2 * MARGIN + max(used.values()) * TRACK if used else 2 * TRACK + MARGIN
            if channel < len(self.rows):
                for box in self.rows[channel]:
                    box.y = y
                y += self.rows[channel][0].height
        return y

    def _channel(self, channel: Channel) -> dict[Net, int]:
        above: Ends = defaultdict(set)
        below: Ends = defaultdict(set)
        spans: Spans = {}
        for (a, b), net in self.nets.items():
            leaves, enters, first, last = self._ends(a, b)
            for state, side, at in ((a, leaves, first), (b, enters, last)):
                if at == channel:
                    (below if side == TOP else above)[net].add(self.ports[state, side, net])
            if channel in (first, last):
                lane = {self.lanes[net]} if first != last else set()
                ends = above[net] | below[net] | lane | set(spans.get(net, ()))
                spans[net] = (min(ends), max(ends))
        ordered = least_crossing(spans, above, below)
        return levels({net: spans[net] for net in ordered})

    def _route(self, source: str, target: str) -> Route:
        a, b = self.boxes[source], self.boxes[target]
        if source == target:
            return self._loop(a)
        if (source, target) in self.straight:
            y = a.y + a.height / 2
            start, end, sign = (a.right, b.x, 1) if a.x < b.x else (a.x, b.right, -1)
            path = f"M{start:g} {y:g}H{end - sign * HEAD:g}"
            return Route(path, (end, y), (sign, 0), ((start + end) / 2, y - 7))
        net = self.nets[source, target]
        leaves, enters, first, last = self._ends(source, target)
        x, end_x = self.ports[source, leaves, net], self.ports[target, enters, net]
        y, end_y = (a.y if leaves == TOP else a.bottom), (b.y if enters == TOP else b.bottom)
        points = [(x, y), (x, self.tracks[net, first])]
        if first != last:
            points += [(self.lanes[net], self.tracks[net, first]), (self.lanes[net], self.tracks[net, last])]
        points += [(end_x, self.tracks[net, last]), (end_x, end_y + enters * HEAD)]
        label = (end_x, end_y + enters * 13 + 4) if net[1] == "out" else (x, y + leaves * 11 + 4)
        return Route(rounded(points), (end_x, end_y), (0, -enters), label)

    def _loop(self, box: Box) -> Route:
        side = self._loop_side(box.state)
        x, y = box.right - 24, box.y if side == TOP else box.bottom
        bend = y + side * 20
        path = f"M{x:g} {y:g}C{x - 3:g} {bend:g} {x + 17:g} {bend:g} {x + 14:g} {y + side * HEAD:g}"
        return Route(path, (x + 14, y), (0, -side), (x + 7, y + side * 23 + (side > 0) * 7))
