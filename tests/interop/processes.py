"""Processes of one test: started with a log each, ended by their own handles."""

import contextlib
import errno
import os
import random
import signal
import socket
import subprocess
import time

READY_WITHIN_SECONDS = 30
_candidates = iter(random.sample(range(20_000, 32_000), 12_000))


class Failure(Exception):
    """What a case found wrong; the text is for people."""


class Processes:
    """Everything a test started in a folder. Leaving the block ends it, last first."""

    def __init__(self, folder):
        self.folder = folder
        self._started = []
        self._kept = contextlib.ExitStack()

    def __enter__(self):
        self.folder.mkdir(parents=True)
        return self

    def __exit__(self, *_):
        self._kept.close()
        for process in reversed(self._started):
            end(process)

    def start(self, name, command, piped=False, environment=None):
        """Starts a command; `environment` has variables beside this process's own."""
        pipe = subprocess.PIPE if piped else None
        with open(self.log(name), "a") as output:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=pipe or subprocess.DEVNULL,
                stdout=pipe or output,
                stderr=output,
                text=True,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        self._started.append(process)
        return process

    def keep(self, closable):
        """Closes it with the block."""
        return self._kept.enter_context(contextlib.closing(closable))

    def log(self, name):
        return self.folder / f"{name}.log"

    def last_words(self):
        return "".join(f"\n{log.name}: {log.read_text()[-1000:]}" for log in sorted(self.folder.glob("*.log")))


def end(process):
    """Kills a process and the children it forked: they are in a group of their own."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def run(command, timeout_seconds):
    """Runs a command to its end; gives what it printed."""
    try:
        done = subprocess.run(
            [str(word) for word in command], capture_output=True, text=True, errors="replace", timeout=timeout_seconds
        )
    except subprocess.TimeoutExpired as error:
        raise Failure(f"`{command[0]}` did not end within {timeout_seconds} s") from error
    if done.returncode != 0:
        raise Failure(f"`{command[0]}` failed with {done.returncode}: {(done.stdout + done.stderr).strip()[-1500:]}")
    return done.stdout


def free_port():
    """A port that nobody listens at, below those the kernel hands out meanwhile; none twice."""
    for port in _candidates:
        if _is_free(socket.AF_INET, port) and (not socket.has_ipv6 or _is_free(socket.AF_INET6, port)):
            return port
    raise Failure("no free port")


def _is_free(family, port):
    """Whether nobody has the port in the family; one that this host does not have leaves it free."""
    try:
        probe = socket.socket(family)
    except OSError:
        return True
    with probe:
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind(("", port))
            return True
        except OSError as error:
            return error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def await_port(port, processes):
    """An agent's port accepts only while the far server can be reached, so this is readiness."""

    def accepts():
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        except OSError:
            return False

    if not eventually(accepts, READY_WITHIN_SECONDS):
        raise Failure(f"port {port} does not accept within {READY_WITHIN_SECONDS} s{processes.last_words()}")


def eventually(true, within_seconds):
    """Whether `true()` became true in time."""
    deadline = time.monotonic() + within_seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
