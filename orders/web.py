"""The house's pages, served from this process: Django's own server, a thread for each request."""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EADDRINUSE

from django.core.handlers.wsgi import WSGIHandler
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler

from orders.cli import Failed

ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (all addresses, and one of them)
POLL_SECONDS = 0.1  # how soon it sees that it is to end


def listen(host: str, port: int) -> ThreadedWSGIServer:
    """A server that has its address, and answers nobody yet. Port 0: any that is free. Raises Failed."""
    try:
        return ThreadedWSGIServer((host, port), WSGIRequestHandler, ipv6=":" in host)
    except (OSError, UnicodeError) as error:
        if getattr(error, "errno", None) == EADDRINUSE:
            raise Failed(
                f"Port {port} of {host} is taken: something else listens there. Stop it, or choose another"
                f" port: --port {port + 1 if port < 65535 else 8000}"
            ) from error
        why = getattr(error, "strerror", None) or error
        raise Failed(f"Nobody can listen at port {port} of {host}: {why}. See --host and --port.") from error


def address_of(server: ThreadedWSGIServer, host: str) -> str:
    """Where it is found by a browser on this machine."""
    name = ANY.get(host, host)
    return f"http://{f'[{name}]' if ':' in name else name}:{server.server_port}"


@contextmanager
def serving(server: ThreadedWSGIServer) -> Iterator[None]:
    """Answer until the end of the block. What is asked at that moment is not waited for."""
    for name in ("django.server", "django.request"):  # a line for each page is too many
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No directory at")  # static/ is made for images only
        server.set_app(WSGIHandler())
    thread = threading.Thread(target=server.serve_forever, args=(POLL_SECONDS,), name="web", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
