"""The process manager at work: one actor per scenario and message; the scenario decides."""

from orders.saga import scenarios
from pizzahouse.messaging.handling import handles

for scenario in scenarios():
    for message_type in dict.fromkeys(on for on, _state in scenario.steps()):
        handles(message_type, at=scenario.address())(scenario.receive)
