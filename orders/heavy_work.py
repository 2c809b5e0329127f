"""Work that takes long and holds a thread, to see how workers end: the only handler here that sleeps."""

import time
from typing import Annotated

import structlog
from msgspec import Meta

from pizzahouse.messaging.handling import handles
from pizzahouse.messaging.messages import Command

log = structlog.get_logger(__name__)
HEAVY_WORKER = "heavy_worker"


class DoHeavyWork(Command, frozen=True):
    """Be busy for so many seconds."""

    seconds: Annotated[int, Meta(ge=1, le=3600)]


@handles(DoHeavyWork, at=HEAVY_WORKER)
def do_heavy_work(command: DoHeavyWork) -> None:
    for second in range(1, command.seconds + 1):
        time.sleep(1)
        log.info("heavy work", done=f"{second} of {command.seconds} s")
