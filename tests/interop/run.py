#!/usr/bin/env python3
"""Runs the foreign MLLP client against the stand-in Mirth, directly and through two real agents.

Directly first: when that fails, the stand-in is at fault and not the tunnel. Every client must have
each message accepted, and the receiver must have got each exactly once. Prints a line for each case
and `interop: N passed, N failed`.
"""

import argparse
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
READY_WITHIN_SECONDS = 60


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", required=True, help="the `tunnel` bench, which can be a stand-in Mirth")
    parser.add_argument("--adit", required=True, help="the adit binary")
    parser.add_argument("--messages", type=int, default=1000)
    arguments = parser.parse_args()

    results = []
    with tempfile.TemporaryDirectory() as folder:
        for way in [Direct, Tunnel]:
            for connection in ["one", "each"]:
                for client in ["blocking", "asyncio"]:
                    name = f"{way.__name__.lower()}, {client} client, connection {connection}"
                    place = pathlib.Path(folder) / name.replace(", ", "-").replace(" ", "-")
                    problem = case(way, arguments, place, connection, client)
                    print(f"{'FAILED' if problem else 'ok':>6}  {name}{': ' + problem if problem else ''}", flush=True)
                    results.append(problem is None)
    failed = results.count(False)
    print(f"interop: {len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


def case(way, arguments, folder, connection, client):
    """What went wrong, or None."""
    folder.mkdir()
    children = []
    try:
        mirth = start([arguments.bench, "--role", "stand-in"], folder / "mirth.log", children, piped=True)
        mirth_address = mirth.stdout.readline().strip()
        port = way.open(arguments.adit, folder, mirth_address, children)
        command = [sys.executable, HERE / "mllp_client.py", "--port", str(port), "--client", client]
        command += ["--connection", connection, "--messages", str(arguments.messages)]
        sent = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if sent.returncode != 0:
            return f"{sent.stdout.strip()} {sent.stderr.strip()}"
        received, _ = mirth.communicate(timeout=30)
        expected = f"received {arguments.messages} distinct {arguments.messages} "
        return None if received.startswith(expected) else f"the receiver says: {received.strip()}"
    except (OSError, subprocess.SubprocessError, NotReady) as error:
        return str(error)
    finally:
        # Only what this case started, each by its own handle.
        for child in reversed(children):
            child.kill()
            child.wait()


class Direct:
    """Nothing between client and receiver."""

    @staticmethod
    def open(_adit, _folder, mirth_address, _children):
        return int(mirth_address.rsplit(":", 1)[1])


class Tunnel:
    """A gateway and two agents between them, from the files of `adit lab`."""

    @staticmethod
    def open(adit, folder, mirth_address, children):
        lab, port = folder / "lab", free_port()
        made = subprocess.run(
            [adit, "lab", lab, "--p2p", f"mllp:127.0.0.1:{port}:{mirth_address}"], capture_output=True, text=True
        )
        if made.returncode != 0:
            raise NotReady(f"`adit lab` failed: {made.stderr.strip()}")
        for role, config in [("gateway", "gateway.toml"), ("agent", "a/agent.toml"), ("agent", "b/agent.toml")]:
            log = folder / (config.replace("/", "-") + ".log")
            start([adit, role, "--config", lab / config], log, children)
        await_port(port, folder)
        return port


class NotReady(Exception):
    """The way to the receiver did not open."""


def start(command, log, children, piped=False):
    pipe = subprocess.PIPE if piped else None
    with open(log, "w") as output:
        child = subprocess.Popen(
            command, stdin=pipe or subprocess.DEVNULL, stdout=pipe or output, stderr=output, text=True
        )
    children.append(child)
    return child


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_port(port, folder):
    """An agent's port accepts only while the far Mirth can be reached, so this is readiness."""
    deadline = time.monotonic() + READY_WITHIN_SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    words = "".join(f"\n{log.name}: {log.read_text()[-1000:]}" for log in sorted(folder.glob("*.log")))
    raise NotReady(f"port {port} does not accept within {READY_WITHIN_SECONDS} s{words}")


if __name__ == "__main__":
    sys.exit(main())
