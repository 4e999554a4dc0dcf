"""A gateway and two agents as processes, from the files of `adit-lab lab`, and the path between them."""

import json
import re
import threading
import time
import urllib.request
from pathlib import Path

from processes import Failure, await_port, eventually, free_port, run

COMMAND_TIMEOUT_SECONDS = 20
NEXT_PATH = {"direct": "relay", "relay": "tcp", "tcp": "direct"}
SWITCH_EVERY_SECONDS = 1.0
LOOK_EVERY_SECONDS = 0.2


class Lab:
    """Agent A listens at `port`; agent B forwards to a server of this machine."""

    def __init__(self, adit, processes, protocol, forward_port, path="auto"):
        self._adit = adit
        self._processes = processes
        self._folder = processes.folder / "lab"
        self.port = free_port()
        connection = f"{protocol}:127.0.0.1:{self.port}:127.0.0.1:{forward_port}"
        adit_lab = Path(adit).with_name("adit-lab")
        run([adit_lab, "lab", self._folder, "--p2p", connection, "--path", path], COMMAND_TIMEOUT_SECONDS)
        processes.start("gateway", [adit, "gateway", "--config", self._folder / "gateway.toml"])
        # An agent's first start is its enrolment, and that gives up if no gateway answers.
        await_port(self._gateway_port("listen"), processes)
        self.agents = {side: self.start_agent(side) for side in ["a", "b"]}
        await_port(self.port, processes)
        self._connection = self.entry("a")["id"]

    def start_agent(self, side):
        return self._processes.start(f"agent-{side}", [self._adit, "agent", "--config", self._config(side)])

    def entry(self, side):
        """The connection as the agent shows it."""
        shown = run([self._adit, "status", "--json", "--config", self._config(side)], COMMAND_TIMEOUT_SECONDS)
        return json.loads(shown)["entries"][0]

    def choose(self, choice):
        """Allows both agents one path only, one agent after the other as people would."""
        for side in ["a", "b"]:
            command = [self._adit, "path", "--config", self._config(side), self._connection, choice]
            run(command, COMMAND_TIMEOUT_SECONDS)

    def await_path(self, path):
        if not eventually(lambda: self.entry("a")["path"] == path, COMMAND_TIMEOUT_SECONDS):
            raise Failure(f"the tunnel is on path {self.entry('a')['path']}, not {path}{self._processes.last_words()}")

    def bytes_carried(self):
        return self.entry("a")["bytes_into_tunnel"]

    def bytes_relayed(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self._gateway_port('metrics')}/metrics") as page:
            return int(re.search(r"^adit_relay_bytes_total (\d+)", page.read().decode(), re.MULTILINE)[1])

    def streams_cut(self):
        return sum(self.entry(side)["streams_cut"] for side in self.agents)

    def _gateway_port(self, key):
        text = (self._folder / "gateway.toml").read_text()
        return int(re.search(rf'^{key}\s*=\s*"[^"]*:(\d+)"', text, re.MULTILINE)[1])

    def _config(self, side):
        return self._folder / side / "agent.toml"


class PathWatch:
    """Notes which path is in use while the block runs and, if asked, switches it every second."""

    def __init__(self, lab, switching):
        self._lab = lab
        self._switching = switching
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._fault = None
        self.seen = []

    def __enter__(self):
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        if self._fault:
            raise Failure(f"the path could not be watched: {self._fault}") from self._fault

    def _run(self):
        try:
            due = time.monotonic() + SWITCH_EVERY_SECONDS
            while not self._stop.wait(LOOK_EVERY_SECONDS):
                if self._switching and time.monotonic() >= due:
                    self._lab.choose(NEXT_PATH[self.seen[-1]])
                    due += SWITCH_EVERY_SECONDS
                self._look()
        except (Failure, OSError, ValueError, KeyError) as fault:
            self._fault = fault

    def _look(self):
        path = self._lab.entry("a")["path"]
        if path and [path] != self.seen[-1:]:
            self.seen.append(path)
