"""What an exploration has found: for people, as a diagram, and as a test."""

from collections.abc import Iterator
from typing import Any

from orders.explorer.worlds import Explored, Finding, Move

SHORT = {"orders": "the saga", "kitchen": "kitchen", "waiter": "waiter", "menu": "menu"}


def lines(finding: Finding) -> Iterator[str]:
    """What is wrong, and the way there, a line for each move."""
    yield f"{finding.what}: {finding.detail}"
    for number, move in enumerate(finding.way, 1):
        yield f"  {number:>3}. {move}"


def mermaid(finding: Finding) -> str:
    """The way as a Mermaid sequence diagram."""
    drawn = ["sequenceDiagram"]
    drawn += [f"    participant {name}" for name in ("somebody", "orders", "menu", "waiter", "kitchen")]
    for move in finding.way:
        drawn.append(f"    {_arrow(move)}")
        if move.note:
            drawn.append(f"    Note over {move.message.module}: {move.note}")
    drawn.append(f"    Note over somebody,kitchen: {finding.what}: {finding.detail}")
    return "\n".join(drawn)


def _arrow(move: Move) -> str:
    there = move.message.module
    whence = move.message.reply_to.partition(".")[0] or ("somebody" if move.kind == "tell" else "orders")
    name = move.message.type
    match move.kind:
        case "lose":
            return f"{whence}--x{there}: {name} (lost)"
        case "due":
            return f"Note over {there}: {name} falls due"
        case "again" | "repeat" | "overlap":
            return f"{whence}->>{there}: {name} ({move.kind})"
    return f"{whence}->>{there}: {name}"


def document(explored: Explored) -> dict[str, Any]:
    """In plain values."""
    return {
        "scenario": explored.scenario,
        "worlds": explored.worlds,
        "moves": explored.moves,
        "handler_runs": explored.runs,
        "saga_states": list(explored.states),
        "complete": explored.complete,
        "findings": [
            {
                "what": each.what,
                "detail": each.detail,
                "messages": each.messages,
                "way": [str(move) for move in each.way],
                "mermaid": mermaid(each),
            }
            for each in explored.findings
        ],
    }


def as_test(explored: Explored, finding: Finding, *, pizzas: int, stock: int) -> str:
    """A test that walks the way again, and passes once nothing is wrong there."""
    name = "_".join(f"{explored.scenario} {finding.what}".replace("'", "").split())
    moves = "\n".join(f"    {move.written!r},  # {move.note or move.kind}" for move in finding.way)
    return (
        f'"""Found by `manage.py explore_saga {explored.scenario}`."""\n\n'
        "import pytest\n\n"
        "from orders.explorer.replay import replay\n\n"
        f"# {finding.detail}\n"
        f"WAY = [\n{moves}\n]\n\n\n"
        "@pytest.mark.django_db\n"
        f"def test_{name}() -> None:\n"
        f'    assert replay("{explored.scenario}", WAY, pizzas={pizzas}, stock={stock}) == []\n'
    )
