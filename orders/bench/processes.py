"""Worker processes, each with its children in a process group of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from tempfile import TemporaryFile
from typing import IO

from django.conf import settings

from orders.cli import Failed

STOP_SECONDS = 15.0
LAST_WORDS = 2000  # bytes of the workers' log, when it goes wrong


@contextmanager
def running(commands: Sequence[tuple[list[str], dict[str, str]]]) -> Iterator[list[int]]:
    """Run these, with their environments, each in a process group of its own; gives the groups. All have
    ended afterwards."""
    with TemporaryFile() as log:
        processes = [
            subprocess.Popen(  # noqa: S603
                command,
                env=environment,
                cwd=settings.BASE_DIR,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            for command, environment in commands
        ]
        try:
            yield [process.pid for process in processes]
        except Failed:
            _show_end(log)
            raise
        finally:
            _stop(processes)


def _stop(processes: Sequence["subprocess.Popen[bytes]"]) -> None:
    try:
        for process in processes:
            process.terminate()
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _show_end(log: IO[bytes]) -> None:
    log.seek(max(log.seek(0, os.SEEK_END) - LAST_WORDS, 0))
    sys.stderr.write("The workers' last words:\n" + log.read().decode(errors="replace"))
