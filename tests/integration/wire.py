"""A wire to a server that can be cut: a TCP proxy, so that connections break as they do in a data centre."""

import socket
import threading
from contextlib import suppress
from urllib.parse import urlsplit

from tests.servers import free_port


class Wire:
    """Passes on what goes between clients and a server, for as long as it is up."""

    def __init__(self, url: str) -> None:
        """url: the server's. `self.url` is the same server, over this wire."""
        parts = urlsplit(url)
        self.far_end = parts.hostname or "127.0.0.1", parts.port or 5672
        self.port = free_port()
        login = parts.netloc.rpartition("@")[0]
        self.url = parts._replace(netloc=f"{login}@127.0.0.1:{self.port}").geturl()
        self._flows = threading.Event()
        self._flows.set()
        self._ends: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.up()

    def up(self) -> None:
        """Take connections."""
        self._listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def down(self) -> None:
        """Cut every connection, and refuse new ones until it is up again."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            listener.close()
        self.cut()

    def cut(self) -> None:
        """Cut every connection; new ones are taken."""
        for end in list(self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def hold(self) -> None:
        """Let nothing pass, and close nothing: both sides believe they are connected."""
        self._flows.clear()

    def release(self) -> None:
        """Let pass again what was held."""
        self._flows.set()

    @property
    def connections(self) -> int:
        """How many connections go over it."""
        return len(self._ends) // 2

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=[near], daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        with near, suppress(OSError), socket.create_connection(self.far_end) as far:
            self._ends |= {near, far}
            back = threading.Thread(target=self._pass_on, args=[far, near], daemon=True)
            back.start()
            self._pass_on(near, far)
            back.join()
            self._ends -= {near, far}

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._flows.wait()
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
