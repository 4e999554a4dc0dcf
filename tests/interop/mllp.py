"""The foreign MLLP client against the stand-in Mirth, directly and through two real agents.

Directly first: when that fails, the stand-in is at fault and not the tunnel. Every client must have
each message accepted, and the receiver must have got each exactly once.
"""

import pathlib
import sys

from lab import Lab
from processes import Failure, run

CLIENT = pathlib.Path(__file__).resolve().parent / "mllp_client.py"
CLIENT_TIMEOUT_SECONDS = 600
END_TIMEOUT_SECONDS = 30


def beds(arguments):
    for way in ["plain", "tunnel"]:
        for connection in ["one", "each"]:
            for client in ["blocking", "asyncio"]:
                yield Bed(arguments, way, connection, client)


class Bed:
    """One client, one fresh receiver, one way between them."""

    def __init__(self, arguments, way, connection, client):
        self._arguments = arguments
        self._way, self._connection, self._client = way, connection, client
        self.name = f"mllp, {way}"
        self.cases = [(f"{client} client, connection {connection}", self._messages)]

    def open(self, processes):
        self._mirth = processes.start("mirth", [self._arguments.bench, "--role", "stand-in"], piped=True)
        self._port = int(self._mirth.stdout.readline().rsplit(":", 1)[1])
        if self._way == "tunnel":
            self._port = Lab(self._arguments.adit, processes, "mllp", self._port).port

    def _messages(self):
        count = self._arguments.messages
        command = [sys.executable, CLIENT, "--port", self._port, "--client", self._client]
        run(command + ["--connection", self._connection, "--messages", count], CLIENT_TIMEOUT_SECONDS)
        received, _ = self._mirth.communicate(timeout=END_TIMEOUT_SECONDS)
        if not received.startswith(f"received {count} distinct {count} "):
            raise Failure(f"the receiver says: {received.strip()}")
        return f"{count} messages"
