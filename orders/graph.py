"""The state graph of a scenario, drawn from its steps."""

from orders.saga import NEW, Saga


def mermaid(scenario: type[Saga]) -> str:
    """The graph as Mermaid text: an arrow per step and target, named after the message that causes it."""
    lines = ["stateDiagram-v2"]
    for step in scenario.steps().values():
        for target in step.targets:
            source = "[*]" if step.source == NEW else step.source
            lines.append(f"    {source} --> {target}: {step.on.__name__}")
    lines.extend(f"    {state} --> [*]" for state in scenario.outcomes)
    return "\n".join(lines)
