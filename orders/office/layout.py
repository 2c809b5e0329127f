"""Where the states of a diagram stand: each a box with its name, in rows."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from math import ceil, inf
from textwrap import wrap

Edge = tuple[str, str]  # from state, to state
Net = tuple[str, str]  # edges that share their lines: a state, and "in" or "out"; or an edge of its own

FONT = 13  # pixels
LINE = 16  # from one line of a name to the next
ROW_WIDTH = 960.0  # a longer row is broken
GAP = 26.0  # between the boxes of a row
PADDING = 9.0
MOST_LETTERS = 11  # in a line of a name, if its words allow
SMALLEST = 46.0
PORT = 8.0  # between two lines that end at one side of a box
NARROW, WIDE = frozenset("fijlrtI.,:;'!|()[]/ -"), frozenset("mwMW@%")


@dataclass
class Box:
    """A state: the lines of its name, and where it stands. Its `y` is known once the lines are drawn."""

    state: str
    lines: tuple[str, ...]
    width: float
    height: float
    row: int = 0
    x: float = 0
    y: float = 0

    @property
    def middle(self) -> float:
        return self.x + self.width / 2

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height


def text_width(text: str) -> float:
    """How wide a text is at most, in pixels, whatever sans serif the page has."""
    return sum(_ems(letter) for letter in text) * FONT


def _ems(letter: str) -> float:
    if not letter.isascii():
        return 1.1
    if letter in NARROW:
        return 0.42
    if letter in WIDE:
        return 1.1
    return 0.76 if letter.isupper() else 0.65


def place(line: Sequence[str], others: Sequence[str], edges: Sequence[Edge]) -> list[list[Box]]:
    """The rows of boxes: first the main line, from left to right, then the others, each below those that
    it has to do with."""
    nets = {edge: net_of(*edge, others) for edge in edges if edge[0] != edge[1]}
    boxes = {state: _box(state, nets) for state in (*line, *others)}
    above = _rows([boxes[state] for state in line])
    for row in above:
        _spread(row)
    width = max(row[-1].right for row in above)
    below = _rows([boxes[state] for state in others])
    wanted = _wanted({state: boxes[state].middle for state in line}, others, edges)
    ordered = [_ordered(row, wanted, edges, width) for row in below]
    rows = [*above, *ordered]
    for number, row in enumerate(rows):
        highest = max(box.height for box in row)
        for box in row:
            box.row, box.height = number, highest
    return rows


def net_of(source: str, target: str, others: Collection[str]) -> Net:
    """Which net an edge belongs to: all that lead to a state beside the main line are one, and all that
    lead from it to the main line."""
    if target in others:
        return (target, "in")
    return (source, "out") if source in others else (f"from {source}", f"to {target}")


def _box(state: str, nets: dict[Edge, Net]) -> Box:
    lines = tuple(wrap(state.replace("_", " "), MOST_LETTERS, break_long_words=False)) or ("",)
    ports = len({net for edge, net in nets.items() if state in edge}) + 1
    width = max(SMALLEST, max(map(text_width, lines)) + 2 * PADDING, ports * PORT)
    return Box(state, lines, ceil(width), max(SMALLEST, len(lines) * LINE + 14))


def _rows(boxes: Sequence[Box]) -> list[list[Box]]:
    """As few rows as there can be, of about the same length."""
    limit = ROW_WIDTH
    rows = _filled(boxes, limit)
    while limit > ROW_WIDTH / 4 and len(_filled(boxes, limit - 20)) == len(rows):
        limit -= 20
    return _filled(boxes, limit) if len(rows) > 1 else rows


def _filled(boxes: Iterable[Box], limit: float) -> list[list[Box]]:
    rows: list[list[Box]] = []
    used = inf
    for box in boxes:
        used += GAP + box.width
        if used > limit:
            rows.append([])
            used = box.width
        rows[-1].append(box)
    return rows


def _spread(row: Sequence[Box]) -> None:
    x = 0.0
    for box in row:
        box.x = x
        x = box.right + GAP


def _wanted(known: dict[str, float], others: Sequence[str], edges: Sequence[Edge]) -> dict[str, float]:
    """For each state the middle of those it has edges from or to."""
    wanted = dict(known)
    for _ in others:
        for state in others:
            ends = [a if b == state else b for a, b in edges if state in (a, b) and a != b]
            near = [wanted[end] for end in ends if end in known] or [
                wanted[end] for end in ends if end in wanted
            ]
            if near and state not in wanted:
                wanted[state] = sum(near) / len(near)
    return wanted


def _ordered(row: list[Box], wanted: dict[str, float], edges: Sequence[Edge], width: float) -> list[Box]:
    """The row in the order that keeps its edges short: two boxes change places as long as that helps."""
    best = sorted(row, key=lambda box: wanted.get(box.state, 0))
    least = _length(best, wanted, edges, width)
    better = True
    while better:
        better = False
        for i in range(len(best)):
            for j in range(i):
                tried = list(best)
                tried[i], tried[j] = tried[j], tried[i]
                length = _length(tried, wanted, edges, width)
                if length < least - 1:
                    best, least, better = tried, length, True
    _length(best, wanted, edges, width)
    return best


def _length(row: Sequence[Box], wanted: dict[str, float], edges: Sequence[Edge], width: float) -> float:
    """Put the row where it wants to be, and measure its edges."""
    x = 0.0
    for box in row:
        box.x = max(x, wanted.get(box.state, 0) - box.width / 2)
        x = box.right + GAP
    x = max(width, sum(box.width + GAP for box in row) - GAP)
    for box in reversed(row):
        box.x = min(box.x, x - box.width)
        x = box.x - GAP
    at = wanted | {box.state: box.middle for box in row}
    place = {box.state: number for number, box in enumerate(row)}
    length = 0.0
    for a, b in edges:
        if a in place or b in place:
            neighbours = a in place and b in place and abs(place[a] - place[b]) == 1
            length += 0 if neighbours else abs(at.get(a, 0) - at.get(b, 0))
            length += 200 if a in place and b in place and not neighbours else 0
    return length
