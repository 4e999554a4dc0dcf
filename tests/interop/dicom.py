"""DCMTK's echoscu and storescu to DCMTK's storescp and to Orthanc, through two real agents.

Plain TCP first: when that fails, the receiver is at fault and not the tunnel. Then the tunnel's path
is direct, relayed over UDP and over TCP, and switched every second. Each object must be stored exactly once, in
the transfer syntax and with the data set that was sent, and no stream may be cut.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass

from dicom_objects import association_profile
from dicom_receivers import Orthanc, RECEIVERS, Storescp
from lab import Lab, PathWatch
from processes import Failure, eventually, run

PARALLEL_ASSOCIATIONS = 4
SEND_TIMEOUT_SECONDS = 300
# So many seconds transfers last under a path that switches, and so often it switches meanwhile.
SWITCHED_SECONDS = 5
SWITCHED_SECONDS_LONG = 30
SWITCHES_MIN = 2
ROUNDS_MAX = 100
PUBLISHED_WITHIN_SECONDS = 15

# What always runs of each way and receiver; with full counts, everything does.
ALWAYS = {
    ("plain", Storescp): ["one"],
    ("plain", Orthanc): ["one"],
    ("direct", Storescp): ["echo", "one", "parallel", "big"],
    ("direct", Orthanc): ["echo", "one", "big"],
    ("relay", Storescp): ["echo", "one", "big"],
    ("relay", Orthanc): ["echo", "parallel"],
    ("tcp", Storescp): ["echo", "parallel", "big"],
    ("tcp", Orthanc): ["one"],
    ("switched", Storescp): ["echo", "parallel", "big"],
    ("switched", Orthanc): ["echo", "one"],
}
EVERYTHING = ["echo", "one", "parallel", "big"]


def beds(arguments, objects):
    for way in ["plain", *arguments.paths]:
        for receiver in RECEIVERS:
            yield Bed(arguments, objects, way, receiver)


class Bed:
    """One receiver and one way to it, shared by the cases that send to it."""

    def __init__(self, arguments, objects, way, receiver):
        self._adit = arguments.adit
        self._switched_seconds = SWITCHED_SECONDS_LONG if arguments.long else SWITCHED_SECONDS
        self._objects = objects
        self._way = way
        self._receiver_type = receiver
        self.name = f"dicom, {way}, {receiver.name}"
        kinds = {
            "echo": ("echoscu", self._echo),
            "one": (f"{len(objects.small)} objects, one association", self._one_association),
            "parallel": (f"{len(objects.small)} objects, {PARALLEL_ASSOCIATIONS} associations", self._parallel),
            "big": (f"one object of {objects.big_bytes // 1_000_000} MB", self._big),
        }
        self.cases = [kinds[kind] for kind in (EVERYTHING if arguments.long else ALWAYS[way, receiver])]

    def open(self, processes):
        self._profile = association_profile(processes.folder)
        self._receiver = self._receiver_type(processes)
        self._lab, self._port = None, self._receiver.port
        if self._way != "plain":
            path = "auto" if self._way == "switched" else self._way
            self._lab = Lab(self._adit, processes, "dicom", self._receiver.port, path)
            self._lab.await_path("direct" if path == "auto" else path)
            self._port = self._lab.port

    def _echo(self):
        with self._watch() as watch:
            run(echoscu(self._port), SEND_TIMEOUT_SECONDS)
        self._judge_path(watch)

    def _one_association(self):
        return self._send([list(self._objects.small)], self._objects.small)

    def _parallel(self):
        paths = list(self._objects.small)
        return self._send([paths[n::PARALLEL_ASSOCIATIONS] for n in range(PARALLEL_ASSOCIATIONS)], self._objects.small)

    def _big(self):
        return self._send([list(self._objects.big)], self._objects.big)

    def _send(self, associations, expected):
        """Sends over all the associations at once and compares; again and again while the path switches."""
        carried, relayed, sent = self._carried(), self._relayed(), Sent()
        with self._watch() as watch:
            for _ in range(ROUNDS_MAX if self._way == "switched" else 1):
                self._round(associations, expected, sent)
                if sent.switched_enough(self._switched_seconds):
                    break
        self._judge_path(watch)
        size = sent.rounds * sum(one.data_set_bytes for one in expected.values())
        self._judge_counted(carried, relayed, size)
        note = f"{sent.rounds * len(expected)} equal, {size / sent.seconds / 1e6:.0f} MB/s in {sent.seconds:.1f} s"
        if self._way != "switched":
            return note
        if not sent.switched_enough(self._switched_seconds):
            raise Failure(f"only {sent.switches} switches of the path in {sent.seconds:.1f} s")
        return f"{note}, {sent.switches} switches of the path meanwhile"

    def _round(self, associations, expected, sent):
        started, switches = time.monotonic(), self._path_changes()
        with ThreadPoolExecutor(len(associations)) as pool:
            for sending in [pool.submit(self._storescu, paths) for paths in associations]:
                sending.result()
        sent.seconds += time.monotonic() - started
        sent.switches += self._path_changes() - switches
        sent.rounds += 1
        judge_stored(self._receiver.stored(), expected)
        self._receiver.forget()

    def _storescu(self, paths):
        run(storescu(self._profile, self._port, paths), SEND_TIMEOUT_SECONDS)

    def _watch(self):
        return PathWatch(self._lab, self._way == "switched") if self._lab else nullcontext()

    def _path_changes(self):
        return self._lab.entry("a")["path_changes"] if self._lab else 0

    def _carried(self):
        return self._lab.bytes_carried() if self._lab else 0

    def _relayed(self):
        return self._lab.bytes_relayed() if self._lab else 0

    def _judge_path(self, watch):
        if not self._lab:
            return
        if self._way != "switched" and watch.seen != [self._way]:
            raise Failure(f"the path was {', then '.join(watch.seen)}")
        if cut := self._lab.streams_cut():
            raise Failure(f"{cut} streams were cut")

    def _judge_counted(self, carried, relayed, size):
        """The agents and the relay counted what the path says, since they had counted so much."""
        if not self._lab:
            return
        if self._carried() - carried < size:
            raise Failure(f"the tunnel carried {self._carried() - carried} of {size} bytes")
        # The relay publishes every few moments.
        is_relayed = self._way in ["relay", "tcp"]
        if is_relayed and not eventually(lambda: self._relayed() - relayed >= size, PUBLISHED_WITHIN_SECONDS):
            raise Failure(f"the relay carried {self._relayed() - relayed} of {size} bytes")
        if self._way == "direct" and self._relayed() - relayed > size // 100:
            raise Failure(f"the relay carried {self._relayed() - relayed} bytes that have a direct path")


@dataclass
class Sent:
    rounds: int = 0
    seconds: float = 0.0
    switches: int = 0

    def switched_enough(self, seconds):
        return self.seconds >= seconds and self.switches >= SWITCHES_MIN


def echoscu(port):
    return ["echoscu", "-aec", "ANY", "127.0.0.1", port]


def storescu(profile, port, paths):
    """Its command: one association for all the files, which stops at the first that is refused."""
    return ["storescu", "-xf", profile, "Every", "-aec", "ANY", "127.0.0.1", port, *paths]


def judge_stored(stored, expected):
    """Every object once, and equal."""
    sent = sorted(expected.values(), key=lambda one: one.instance)
    stored = sorted(stored, key=lambda one: one.instance)
    if [one.instance for one in stored] != [one.instance for one in sent]:
        raise Failure(f"{len(stored)} objects are stored, {len(sent)} were sent")
    changed = [f"{got.instance}: {got} is not {want}" for got, want in zip(stored, sent) if got != want]
    if changed:
        raise Failure(f"{len(changed)} of {len(sent)} objects were changed: {changed[0]}")
