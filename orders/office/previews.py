"""Previews as a page shows them."""

from typing import Any

from orders.office.actions import ACTIONS, Action
from orders.office.foresight import Asked, Refused
from orders.office.letters import LETTER_ACTIONS, LetterAction
from orders.office.models import Mended, Mending
from orders.saga import Saga, find
from pizzahouse.messaging.models import InboxMessage

SAMPLES = 3  # of a mending of many
NO_REASON = "…"


def preview(how: Any, target: Saga | InboxMessage, details: dict[str, Any], by: str) -> dict[str, Any]:
    """What would come of it, as `foreseen`; or why it cannot be done, as `impossible`."""
    try:
        return {"foreseen": how.foresee(target, Asked(by, NO_REASON, details)), "impossible": ""}
    except Refused as reason:
        return {"foreseen": None, "impossible": str(reason)}


def how_of(mending: Mending) -> Action | LetterAction:
    """What is done by this mending."""
    return ACTIONS.get(mending.action) or LETTER_ACTIONS[mending.action]


def samples(mending: Mending) -> list[tuple[Mended, dict[str, Any]]]:
    """What would come of its first ones."""
    how = how_of(mending)
    first = mending.processes.all()[:SAMPLES]
    return [(item, _sample(how, item, mending)) for item in first]


def _sample(how: Any, item: Mended, mending: Mending) -> dict[str, Any]:
    target: Any = find(item.process_id) if isinstance(how, Action) and item.process_id else None
    if not isinstance(how, Action):
        target = InboxMessage.objects.filter(pk=item.letter_id or 0).first()
    if target is None:
        return {"foreseen": None, "impossible": "It does not exist any more."}
    return preview(how, target, mending.details, mending.by)
