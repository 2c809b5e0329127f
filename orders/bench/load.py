"""A closed loop: so many sagas at once, and a new one starts when one ends."""

import time
from collections.abc import Callable

from orders.cli import Failed

LOOK_SECONDS = 0.02
STALLED_SECONDS = 60.0


def run(sagas: int, concurrency: int, start: Callable[[], object], finished: Callable[[], int]) -> None:
    """Start so many sagas, at most `concurrency` at once, and return when all have finished.

    finished: how many have, ever. Raises Failed when none finishes for a minute.
    """
    before = finished()
    started = done = 0
    progress = time.monotonic()
    while done < sagas:
        while started < min(sagas, done + concurrency):
            start()
            started += 1
        time.sleep(LOOK_SECONDS)
        now = finished() - before
        if now > done:
            done, progress = now, time.monotonic()
        elif time.monotonic() - progress > STALLED_SECONDS:
            raise Failed(
                f"No saga has finished for {STALLED_SECONDS:.0f} s: {done} of {sagas} have. Does"
                " `manage.py serve_table TBL1` work?"
            )
