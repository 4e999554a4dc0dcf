"""Senders and agents that die in the middle of a big object.

The receiver must see the end that the sender's host gave: a reset is a reset, and what adit itself
breaks is one too. A killed program is the exception, in adit as without it: its host's kernel ends the
connection as if all had been said (which `plain` shows), and DICOM itself tells that the object is not
whole. No receiver may have stored any of it, and the next object must arrive.
"""

from bridge import Bridge
from dicom import echoscu, judge_stored, storescu
from dicom_objects import association_profile
from dicom_receivers import Orthanc, RECEIVERS, Storescp
from lab import Lab
from processes import Failure, end, eventually, run

# In the middle: so much has reached the receiver, and most is still to come.
BYTES_BEFORE = 20_000_000
START_WITHIN_SECONDS = 30
END_WITHIN_SECONDS = 30
SEND_TIMEOUT_SECONDS = 60


# What always runs; with full counts, everything does.
ALWAYS = [("plain", Storescp), ("direct", Storescp), ("direct", Orthanc), ("relay", Storescp), ("tcp", Storescp)]


def beds(arguments, objects):
    for way in ["plain", *[path for path in arguments.paths if path != "switched"]]:
        for receiver in RECEIVERS:
            if arguments.long or (way, receiver) in ALWAYS:
                yield Bed(arguments, objects, way, receiver)


class Bed:
    """One receiver behind a bridge that sees how its connections end."""

    def __init__(self, arguments, objects, way, receiver):
        self._adit = arguments.adit
        self._objects = objects
        self._way = way
        self._receiver_type = receiver
        self.name = f"dicom, {way}, {receiver.name}"
        self.cases = [
            ("sender killed in the middle", self._sender_killed),
            ("sender's host reset in the middle", self._sender_reset),
        ]
        if way != "plain":
            self.cases += [
                ("near agent killed in the middle", lambda: self._agent_killed("a")),
                ("far agent killed in the middle", lambda: self._agent_killed("b")),
            ]

    def open(self, processes):
        self._processes = processes
        self._profile = association_profile(processes.folder)
        self._receiver = self._receiver_type(processes)
        self._witness = processes.keep(Bridge(self._receiver.port))
        self._port, self._lab = self._witness.port, None
        if self._way != "plain":
            self._lab = Lab(self._adit, processes, "dicom", self._witness.port, self._way)
            self._lab.await_path(self._way)
            self._port = self._lab.port

    def _sender_killed(self):
        return self._break(self._port, end, "end")

    def _sender_reset(self):
        host = self._processes.keep(Bridge(self._port, resetting=True))
        return self._break(host.port, end, "reset")

    def _agent_killed(self, side):
        def kill(_sender):
            end(self._lab.agents[side])
            self._lab.agents[side] = self._lab.start_agent(side)

        return self._break(self._port, kill, "reset")

    def _break(self, port, fault, expected):
        self._witness.connections.clear()
        sender = self._processes.start("storescu", storescu(self._profile, port, self._objects.big))
        if not eventually(lambda: self._witness.longest().bytes >= BYTES_BEFORE, START_WITHIN_SECONDS):
            raise Failure(f"only {self._witness.longest().bytes} bytes arrived{self._processes.last_words()}")
        broken = self._witness.longest()
        fault(sender)
        if not eventually(lambda: broken.ended, END_WITHIN_SECONDS):
            raise Failure(f"the receiver saw no end within {END_WITHIN_SECONDS} s")
        end(sender)
        whole = self._objects.big_bytes
        if broken.bytes >= whole:
            raise Failure("the object had gone through already")
        if broken.ended != expected:
            raise Failure(f"the receiver saw {broken.ended} where {expected} was given")
        if not eventually(self._receiver.is_empty, END_WITHIN_SECONDS):
            raise Failure("the receiver keeps a part of the object")
        self._next_object()
        return f"{expected} after {broken.bytes // 1_000_000} of {whole // 1_000_000} MB, nothing stored"

    def _next_object(self):
        """Senders try again until there is service. What a receiver stored late would show here too."""
        if not eventually(self._echoes, END_WITHIN_SECONDS):
            raise Failure(f"no service again within {END_WITHIN_SECONDS} s{self._processes.last_words()}")
        path, fingerprint = next(iter(self._objects.small.items()))
        try:
            run(storescu(self._profile, self._port, [path]), SEND_TIMEOUT_SECONDS)
        except Failure as failure:
            raise Failure(f"the next object was not taken: {failure}{self._processes.last_words()}") from failure
        judge_stored(self._receiver.stored(), {path: fingerprint})
        self._receiver.forget()

    def _echoes(self):
        try:
            run(echoscu(self._port), SEND_TIMEOUT_SECONDS)
            return True
        except Failure:
            return False
