"""The tracks that lines run on: which of them can share one, in which order they stand, and their corners."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from orders.office.layout import PORT, Net

CORNER = 6.0
Point = tuple[float, float]
Spans = dict[Net, tuple[float, float]]  # from where to where each needs its track
Ends = dict[Net, set[float]]  # where each ends at a box


def levels(spans: Spans) -> dict[Net, int]:
    """Those that do not overlap can share a level; the others keep their order."""
    found: dict[Net, int] = {}
    for net, (low, high) in spans.items():
        met = [
            found[each] for each in found if spans[each][0] <= high + PORT and low <= spans[each][1] + PORT
        ]
        found[net] = max(met, default=-1) + 1
    return found


def least_crossing(spans: Spans, above: Ends, below: Ends) -> list[Net]:
    """From top to bottom, each where it crosses the fewest ends of the others."""
    ordered: list[Net] = []
    for net, span in spans.items():
        costs, cost = [0], 0
        for other in ordered:
            under = _within(above[net], spans[other]) + _within(below[other], span)
            over = _within(above[other], span) + _within(below[net], spans[other])
            cost += under - over
            costs.append(cost)
        ordered.insert(costs.index(min(costs)), net)
    return ordered


def _within(xs: Iterable[float], span: tuple[float, float]) -> int:
    return sum(span[0] < x < span[1] for x in xs)


def rounded(points: Sequence[Point]) -> str:
    """A path through these corners, each made round."""
    path, last = "M{:g} {:g}".format(*points[0]), points[0]
    for (x, y), after in pairwise(points[1:]):
        before, beyond = _towards((x, y), last), _towards((x, y), after)
        path += f"L{before[0]:g} {before[1]:g}Q{x:g} {y:g} {beyond[0]:g} {beyond[1]:g}"
        last = (x, y)
    return path + "L{:g} {:g}".format(*points[-1])


def _towards(start: Point, end: Point) -> Point:
    """From here towards there, as far as a round corner takes."""
    across, down = end[0] - start[0], end[1] - start[1]
    length = abs(across) + abs(down)
    part = min(CORNER, length / 2) / length if length else 0
    return start[0] + across * part, start[1] + down * part
