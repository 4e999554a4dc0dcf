"""A TCP forwarder that sees how connections end, and can make them end as if a host had failed."""

import select
import socket
import struct
import threading
from dataclasses import dataclass

BLOCK_BYTES = 1 << 18
CONNECT_TIMEOUT_SECONDS = 10
# Closing with this sends a reset and drops what is unsent.
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass
class Passed:
    """What came from a client: so many bytes, and then `end` or `reset`; empty while it goes on."""

    bytes: int = 0
    ended: str = ""


class Bridge:
    """Forwards each connection to `port` of this host, and hands on its end in kind.

    With `resetting`, a client's end becomes a reset: a host that died with its programs. A connection
    belongs to one thread, which alone closes it.
    """

    def __init__(self, port, resetting=False):
        self._forward_port = port
        self._resetting = resetting
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def close(self):
        # Wakes the thread that waits for the next connection.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()

    def longest(self):
        """Of the connection that carried most; others only looked whether somebody is there."""
        return max(self.connections, key=lambda passed: passed.bytes, default=Passed())

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client):
        with client:
            try:
                server = socket.create_connection(("127.0.0.1", self._forward_port), CONNECT_TIMEOUT_SECONDS)
            except OSError:
                reset_on_close(client)
                return
            with server:
                server.settimeout(None)
                passed = Passed()
                self.connections.append(passed)
                ended = self._forward(client, server, passed)
        passed.ended = ended

    def _forward(self, client, server, passed):
        """Copies both ways until both have ended; how the client ended, if it did and not the server."""
        targets, ended = {client: server, server: client}, ""
        while targets:
            for source in select.select(list(targets), [], [])[0]:
                try:
                    block = source.recv(BLOCK_BYTES)
                except OSError:
                    reset_on_close(client, server)
                    return "reset" if source is client else ended
                if source is client:
                    passed.bytes += len(block)
                try:
                    if block:
                        targets[source].sendall(block)
                        continue
                    if source is client:
                        ended = passed.ended = "end"
                    if source is client and self._resetting:
                        reset_on_close(client, server)
                        return ended
                    targets.pop(source).shutdown(socket.SHUT_WR)
                except OSError:
                    reset_on_close(client, server)
                    return ended
        return ended


def reset_on_close(*connections):
    for connection in connections:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
