"""Worker processes show what they count: one port for each `manage.py rundramatiq`.

The processes of such a group count in files of a folder of their own, and one more process sums them up for
whoever asks. A lock on the folder, which the master and all its children inherit, tells that they live: a
folder that nobody locks is left over, however they ended, and the next group removes it.
"""

import fcntl
import hmac
import os
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.utils.log import configure_logging
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

log = structlog.get_logger(__name__)
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
PREFIX = "messaging-metrics-"
PORT_SECONDS = 5.0  # between two attempts to get the port


# --- Before the workers start ---------------------------------------------------------------------


def prepare() -> str:
    """Give the workers that this process is about to become a folder to count in. Returns the path of the
    function that is to run beside them, as Dramatiq wants it."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        _remove_if_left(left)
    os.environ[FOLDER] = _new_folder()
    return f"{__name__}:serve"


def _new_folder() -> str:
    while True:
        folder = tempfile.mkdtemp(prefix=PREFIX)
        descriptor = os.open(folder, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        os.set_inheritable(descriptor, True)  # it stays locked until the last of them has ended
        if Path(folder).is_dir():  # and not taken for left over just before
            return folder
        os.close(descriptor)


def _remove_if_left(folder: Path) -> None:
    with suppress(OSError):  # another user's, or locked, or gone
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)


# --- Beside them ----------------------------------------------------------------------------------


def serve() -> int:
    """Answer `GET /metrics` on METRICS_PORT until SIGTERM. Without METRICS_TOKEN this machine alone is
    answered."""
    configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)
    _server().serve_forever()
    return 0


class _Server(ThreadingHTTPServer):
    """Ends with the master of its group, even where that was killed and could tell nobody."""

    allow_reuse_port = False  # two groups would share one, and show now this one's figures, now that one's

    def service_actions(self) -> None:
        _end_with_the_master()


def _end_with_the_master() -> None:
    master = parent_process()
    if master is not None and not master.is_alive():
        sys.exit()


def _server() -> _Server:
    """Waits for a port that is taken: the workers' work does not depend on it, and whoever has it may be
    the group that this one replaces."""
    port = settings.MESSAGING["METRICS_PORT"]
    host = "0.0.0.0" if settings.MESSAGING["METRICS_TOKEN"] else "127.0.0.1"  # noqa: S104
    told = False
    while True:
        try:
            return _Server((host, port), _Page)
        except OSError as error:
            if not told:
                log.warning(
                    "these workers' metrics cannot be shown until the port is free; give each group of"
                    " workers on a machine a port of its own: PIZZAHOUSE_METRICS_PORT",
                    port=port,
                    error=str(error),
                )
            told = True
            time.sleep(PORT_SECONDS)
            _end_with_the_master()


class _Page(BaseHTTPRequestHandler):
    timeout = 10  # seconds for a request to arrive

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(HTTPStatus.NOT_FOUND, "There is only /metrics here.")
        elif settings.MESSAGING["METRICS_TOKEN"] and not knows_token(self.headers.get("Authorization", "")):
            self.send_error(HTTPStatus.UNAUTHORIZED, "Send the header: Authorization: Bearer (the token)")
        else:
            self._answer(of_processes(os.environ[FOLDER]))

    def _answer(self, page: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", CONTENT_TYPE_PLAIN_0_0_4)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the name it has there)
        log.debug("metrics were asked for", status=args[1] if len(args) > 1 else "")


def knows_token(authorization: str) -> bool:
    """Whether this header names the token that metrics are shown for; never, where there is none."""
    token: str = settings.MESSAGING["METRICS_TOKEN"]
    return bool(token) and hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode())


def of_processes(folder: str) -> bytes:
    """The sums of what the processes that count in this folder have counted, as a page for Prometheus. What
    a process that died has done stays counted; what it was doing does not."""
    for file in Path(folder).glob("gauge_live*.db"):
        process = int(file.stem.rpartition("_")[2])
        if not _lives(process):
            with suppress(FileNotFoundError):  # another scrape was faster
                mark_process_dead(process, folder)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, folder)
    return generate_latest(registry)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
