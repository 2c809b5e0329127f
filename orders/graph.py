"""The state graph of a scenario, drawn from its steps."""

from orders.saga import Saga
from orders.steps import NEW


def mermaid(scenario: type[Saga]) -> str:
    """The graph as Mermaid text: an arrow from state to state, named after the messages that cause it."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for step in scenario.steps().values():
        for target in step.targets:
            arrows.setdefault((step.source, target), []).append(step.on.__name__)
    lines = ["stateDiagram-v2"]
    for (source, target), names in arrows.items():
        start = "[*]" if source == NEW else source
        lines.append(f"    {start} --> {target}: {', '.join(dict.fromkeys(names))}")
    lines.extend(f"    {state} --> [*]" for state in scenario.outcomes)
    return "\n".join(lines)
