"""The office at work: mendings go on in the workers of the queue `orders`."""

from orders.office import mendings
from orders.office.contracts import MendOn
from pizzahouse.messaging.handling import handles

handles(MendOn, at=mendings.ADDRESS)(mendings.go_on)
