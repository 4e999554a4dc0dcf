#!/usr/bin/env python3
"""Measures what each kind of path costs, side by side: direct, relay, tcp.

    benches/paths/run.py --load TUNNEL [--profile release] [--quick] [--rounds N] [--paths direct,relay,tcp] [--adit PROGRAM]

Goodput of one upload, p50 and p99 of one message after the other, and processor time per GB of agents and
gateway, at 0 and 1 % loss and 0 and 50 ms there and back. Three network namespaces on one machine, joined by
a bridge where there is no delay and by `wire.py` where there is; loss on the bridge is nftables'. Needs root,
and the binaries of the profile that is measured (`cargo build --release`; `cargo bench -p adit-benches --bench tunnel
--no-run` prints TUNNEL).
"""

import argparse
import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
HOSTS = {"gateway": "10.9.0.1", "a": "10.9.0.2", "b": "10.9.0.3"}
CONDITIONS = [(0, 0.0), (0, 0.01), (50, 0.0), (50, 0.01)]
READY_SECONDS = 60


def main():
    options = parse()
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or (HERE.parent.parent / "target")) / options.profile
    adit = pathlib.Path(options.adit) if options.adit else target / "adit"
    rows = {}
    for round_number in range(options.rounds):
        for condition in CONDITIONS:
            turn = round_number % len(options.paths)
            for path in options.paths[turn:] + options.paths[:turn]:
                with tempfile.TemporaryDirectory() as folder:
                    found = measure(options, adit, target / "adit-lab", pathlib.Path(folder), path, condition)
                rows.setdefault((condition, path), []).append(found)
                print(f"{condition} {path}: {found}", file=sys.stderr, flush=True)
    print_table(options, rows)


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--paths", default="direct,relay,tcp")
    parser.add_argument("--profile", default="release")
    parser.add_argument("--adit")
    parser.add_argument("--load", required=True, help="the bench program `tunnel`, which has servers and loads")
    options = parser.parse_args()
    options.paths = options.paths.split(",")
    if options.quick:
        options.rounds = 1
    return options


class Network:
    """Three hosts and what joins them, for as long as it is entered."""

    def __init__(self, milliseconds, loss):
        self.milliseconds, self.loss, self.children = milliseconds, loss, []

    def __enter__(self):
        self.hub = self.namespace()
        self.first = {name: self.namespace() for name in HOSTS}
        if self.milliseconds:
            self.wire()
        else:
            self.bridge()
        for name in HOSTS:
            self.run(name, "ip", "link", "set", "lo", "up")
        return self

    def namespace(self):
        holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo ready; read -r _"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert holder.stdout.readline() == b"ready\n", "network namespaces need root"
        self.children.append(holder)
        return holder.pid

    def bridge(self):
        inside = ["nsenter", "--target", str(self.hub), "--net"]
        for command in ("ip link add hub type bridge", "ip link set hub up"):
            subprocess.run([*inside, *command.split()], check=True)
        for name, address in HOSTS.items():
            for command in (
                f"ip link add to-{name} type veth peer name wan0 netns {self.first[name]}",
                f"ip link set to-{name} master hub up",
            ):
                subprocess.run([*inside, *command.split()], check=True)
            self.address(name, address)
            if self.loss:
                self.lose(name)

    def wire(self):
        places = [f"{self.first[name]}:{address}" for name, address in HOSTS.items()]
        wire = subprocess.Popen([sys.executable, HERE / "wire.py", str(self.milliseconds), str(self.loss), "1",
                                 *places], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.children.append(wire)
        assert wire.stdout.readline() == b"ready\n"
        for name, address in HOSTS.items():
            self.address(name, address)

    def address(self, name, address):
        self.run(name, "ip", "address", "add", f"{address}/24", "dev", "wan0")
        self.run(name, "ip", "link", "set", "wan0", "up")

    def lose(self, name):
        """Half on each leg by way of the gateway, so that every path loses as much."""
        rules = "".join(
            f"ip saddr {address} numgen random mod 10000 < {round(self.loss * part * 10_000)} drop\n"
            for other, address in HOSTS.items() if other != name
            for part in [0.5 if "gateway" in (name, other) else 1.0])
        # One packet is lost at a time, not all that the kernel has gathered.
        self.run(name, "ip", "link", "set", "wan0", "gso_max_segs", "1")
        table = f"table ip loss {{\nchain in {{\ntype filter hook input priority 0\n{rules}}}\n}}\n"
        subprocess.run(["nsenter", "--target", str(self.first[name]), "--net", "nft", "-f", "-"],
                       input=table.encode(), check=True)

    def inside(self, name):
        return ["nsenter", "--target", str(self.first[name]), "--net"]

    def run(self, name, *command):
        return subprocess.run([*self.inside(name), *map(str, command)], check=True, capture_output=True, text=True).stdout

    def start(self, name, *command, log=None):
        output = open(log, "wb") if log else subprocess.PIPE
        child = subprocess.Popen([*self.inside(name), *map(str, command)], stdin=subprocess.PIPE, stdout=output,
                                 stderr=output if log else None)
        self.children.append(child)
        return child

    def __exit__(self, *_):
        for child in reversed(self.children):
            child.stdin.close()
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        for child in reversed(self.children):
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def measure(options, adit, adit_lab, folder, path, condition):
    with Network(*condition) as network:
        servers = [network.start("b", options.load, "--role", role) for role in ("mllp", "sink")]
        mllp, sink = (server.stdout.readline().decode().strip() for server in servers)
        lab = folder / "lab"
        subprocess.run([adit_lab, "lab", lab, "--p2p", f"mllp:127.0.0.1:7001:{mllp}",
                        "--p2p", f"tcp:127.0.0.1:7002:{sink}", "--path", path], check=True, capture_output=True)
        place_hosts(lab)
        programs = {
            "gateway": network.start("gateway", adit, "gateway", "--config", lab / "gateway.toml", log=folder / "gateway.log"),
            "a": network.start("a", adit, "agent", "--config", lab / "a/agent.toml", log=folder / "a.log"),
            "b": network.start("b", adit, "agent", "--config", lab / "b/agent.toml", log=folder / "b.log"),
        }
        takes(network, adit, lab, path, folder)
        found = {}
        seconds = 2 if options.quick else 8
        load = lambda *shape: [float(number) for number in network.run("a", options.load, "--role", "load", *shape).split()]
        if path != "none":
            _, _, found["p50"], found["p99"] = load("messages", "127.0.0.1:7001", "1", str(seconds))
        size = upload_bytes(options, condition)
        before = {name: cpu(program.pid) for name, program in programs.items()}
        sent, rate, *_ = load("upload", "127.0.0.1:7002", "1", str(size))
        spent = {name: cpu(program.pid) - before[name] for name, program in programs.items()}
        found["goodput"] = rate / 1e6
        found["agents"] = (spent["a"] + spent["b"]) / sent * 1e9
        found["gateway"] = spent["gateway"] / sent * 1e9
        return found


def upload_bytes(options, condition):
    fast = condition == (0, 0.0)
    if options.quick:
        return 32_000_000 if fast else 4_000_000
    return 1_000_000_000 if fast else 100_000_000


def place_hosts(lab):
    """Puts the lab's processes, written for one loopback, on their hosts."""
    gateway = next(line for line in (lab / "gateway.toml").read_text().splitlines() if line.startswith("listen"))
    port = gateway.rsplit(":", 1)[1].strip('"')
    for file in lab.rglob("*.toml"):
        text = file.read_text().replace(f"127.0.0.1:{port}", f"{HOSTS['gateway']}:{port}")
        if file.name == "agent.toml":
            text = text.replace('listen    = "127.0.0.1:0"', f'listen    = "{HOSTS[file.parent.name]}:0"')
        file.write_text(text)


def takes(network, adit, lab, path, folder):
    """Waits until the port is open over the path that is meant."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        asked = subprocess.run([adit, "status", "--json", "--config", lab / "a/agent.toml"], capture_output=True)
        if asked.returncode == 0:
            entries = json.loads(asked.stdout)["entries"]
            if all(entry["port_open"] and entry["path"] == path for entry in entries):
                return
        time.sleep(0.1)
    logs = "\n".join((folder / f"{name}.log").read_text()[-2_000:] for name in HOSTS)
    raise SystemExit(f"no open port over {path} within {READY_SECONDS} s\n{logs}")


def cpu(pid):
    """Processor seconds of a process: nsenter has become it."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def print_table(options, rows):
    columns = [("goodput", "MB/s"), ("p50", "p50 µs"), ("p99", "p99 µs"), ("agents", "agents' CPU s/GB"),
               ("gateway", "gateway's CPU s/GB")]
    print(f"\nMedians (least–most) of {options.rounds} interleaved round(s).\n")
    print("| network | path | " + " | ".join(title for _, title in columns) + " |")
    print("|---|---|" + "---:|" * len(columns))
    for (milliseconds, loss), path in sorted(rows, key=lambda row: (CONDITIONS.index(row[0]), options.paths.index(row[1]))):
        found = rows[(milliseconds, loss), path]
        cells = []
        for name, _ in columns:
            values = sorted(one[name] for one in found)
            spread = f" ({values[0]:.4g}–{values[-1]:.4g})" if len(values) > 1 else ""
            cells.append(f"{statistics.median(values):.4g}{spread}")
        print(f"| {milliseconds} ms, {loss:.0%} loss | {path} | " + " | ".join(cells) + " |")
    fast = CONDITIONS[0]
    if (fast, "direct") in rows and (fast, "tcp") in rows:
        of = lambda path: statistics.median(one["goodput"] for one in rows[fast, path])
        print(f"\ntcp / direct at no loss and no delay: {of('tcp') / of('direct'):.2f} (aim 0.6)")


if __name__ == "__main__":
    main()
