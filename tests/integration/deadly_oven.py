"""The settings of a house whose oven ends the process that bakes a Funghi in it, without a word."""

import os

from kitchen import oven
from pizzahouse.settings import *  # noqa: F403

DEADLY = "pfngh"


def burns() -> bool:
    """Instead of the oven's own: called while a pizza is baked."""
    from pizzahouse.messaging.models import OutboxMessage
    from pizzahouse.messaging.outbox import current_envelope

    envelope = current_envelope()
    if envelope and OutboxMessage.objects.get(pk=envelope.message_id).payload["code"] == DEADLY:
        os._exit(1)
    return False


oven.burns = burns
