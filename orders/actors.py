"""The process manager at work: one actor per scenario and message; the scenario decides."""

from orders import heavy_work  # noqa: F401  (its handler)
from orders.contracts import DeadlinePassed
from orders.saga import scenarios
from pizzahouse.messaging.handling import handles
from pizzahouse.messaging.messages import Message

for scenario in scenarios():
    messages: list[type[Message]] = [*(on for on, _state in scenario.steps()), DeadlinePassed]
    for message_type in dict.fromkeys(messages):
        handles(message_type, at=scenario.address())(scenario.receive)
