"""Bytes that no decent client sends: requests of two meanings, heads without end or slow, bodies without measure."""

import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time

import requests

from gateway import Failure

PROBLEM = "application/problem+json"
HANG_LIMIT_SECONDS = 120
SLOW_CONNECTIONS = 40
SLOW_EVERY_SECONDS = 0.5
# Of a body: what is taken is 65,536 bytes.
TOO_LARGE = [65_537, 100_000, 300_000, 1 << 20, 4 << 20]
TOO_LARGE_ROUNDS = 20
# What refused heads may leave behind.
MEMORY_BYTES_MORE_MAX = 64 << 20


def cases(world):
    raw = RawRequests(world)
    yield "a request of two meanings has none", raw.two_meanings
    yield "heads that are bombs are refused", raw.head_bombs
    yield "slow heads keep nobody out", raw.slow_heads
    yield "who sends a body that is too large is told so each time", raw.too_large


class RawRequests:
    def __init__(self, world):
        self.world, self.gateway = world, world.gateway
        self.context = ssl.create_default_context(cafile=str(self.gateway.ca))

    def connect(self):
        raw = socket.create_connection(("127.0.0.1", self.gateway.port), timeout=HANG_LIMIT_SECONDS)
        return self.context.wrap_socket(raw, server_hostname="localhost")

    def say(self, text):
        """Sends it all; gives everything that comes until the other end closes."""
        with self.connect() as tls:
            try:
                tls.sendall(text)
            except OSError:
                # The answer may be there all the same.
                pass
            return everything(tls)

    def two_meanings(self):
        owner = self.world.fresh("St Mary", "owner")
        hidden = (
            f"GET /api/v1/account HTTP/1.1\r\nHost: localhost\r\nCookie: __Host-adit_session={owner.cookie()}\r\n\r\n"
        ).encode()
        whole = self.say(hidden.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        if status(whole) != "200" or b"owner@stmary.example" not in whole:
            raise Failure(f"the request that is hidden in others would not be answered: {whole[:300]}")
        forms = list(FORMS)
        for form in forms:
            request = b"POST /api/v1/session HTTP/1.1\r\n" + form + b"\r\n\r\n0\r\n\r\n"
            self.wait()
            answer = self.say(request + hidden)
            if status(answer) != "400" or answer.count(b"HTTP/1.1 ") != 1 or b"owner@stmary" in answer:
                raise Failure(f"{form!r} is answered with {answer[:600]!r}")
        for lines in REQUEST_LINES:
            self.wait()
            answer = self.say(lines + b"Host: localhost\r\n\r\n" + hidden)
            if not re.match("4|5", status(answer) or "4") or b"owner@stmary" in answer:
                raise Failure(f"{lines!r} is answered with {answer[:600]!r}")
        return f"{len(forms) + len(REQUEST_LINES)} forms"

    def wait(self):
        """Keeps to what one address may ask without proof."""
        time.sleep(0.05)

    def head_bombs(self):
        before = self.gateway.resident_bytes()
        bombs = [b"X-%d: y\r\n" % number for number in range(70)]
        for what, head, expected in [
            ("70 headers", b"".join(bombs), ("431",)),
            ("10,000 headers", b"X: y\r\n" * 10_000, ("431",)),
            ("a header of 20 KiB", b"X: " + b"y" * 20_480 + b"\r\n", ("431",)),
            ("a header of 6 MiB", b"X: " + b"y" * (6 << 20) + b"\r\n", ("431",)),
            ("a header's name of 20 KiB", b"y" * 20_480 + b": x\r\n", ("431",)),
            ("a cookie of 20 KiB", b"Cookie: " + b"a=b; " * 4_096 + b"\r\n", ("431",)),
        ]:
            answer = self.say(b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n")
            if status(answer) not in expected:
                raise Failure(f"{what}: {answer[:300]!r} instead of {expected}")
        for length in (20_480, 1 << 20):
            answer = self.say(b"GET /" + b"a" * length + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
            if status(answer) not in ("414", "431"):
                raise Failure(f"a path of {length} bytes: {answer[:300]!r}")
        endless = b"GET / HTTP/1.1\r\nX: " + b"y" * (4 << 20)
        threads = [threading.Thread(target=self.say, args=[endless]) for _ in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        more = self.gateway.resident_bytes() - before
        if more > MEMORY_BYTES_MORE_MAX:
            raise Failure(f"heads that were refused left {more >> 20} MiB behind")
        self.world.fresh("St Mary", "owner").get("/servers")
        return f"the gateway has {more >> 10} KiB more than before"

    def slow_heads(self):
        """Each sends a byte now and then; the gateway ends each, and serves an honest user meanwhile."""
        began, ends = time.monotonic(), []
        threads = [threading.Thread(target=self.dribble, args=[ends]) for _ in range(SLOW_CONNECTIONS)]
        for thread in threads:
            thread.start()
        honest = []
        while any(thread.is_alive() for thread in threads):
            asked = time.monotonic()
            self.world.fresh("Lakeside", "auditor", "127.0.0.9").get("/servers")
            honest.append(time.monotonic() - asked)
            threads[0].join(1)
        if len(ends) != SLOW_CONNECTIONS or time.monotonic() - began > HANG_LIMIT_SECONDS:
            raise Failure(f"of {SLOW_CONNECTIONS} slow heads {len(ends)} were ended within {HANG_LIMIT_SECONDS} s")
        return f"ended within {max(ends):.1f} s; {len(honest)} honest sign-ins took {max(honest):.2f} s at most"

    def dribble(self, ends):
        began = time.monotonic()
        try:
            with self.connect() as tls:
                tls.sendall(b"GET /api/v1/servers HTTP/1.1\r\nHost: localhost\r\n")
                tls.settimeout(SLOW_EVERY_SECONDS)
                while time.monotonic() - began < HANG_LIMIT_SECONDS:
                    tls.sendall(b"X")
                    try:
                        if not tls.recv(4096):
                            break
                    except TimeoutError:
                        continue
        except OSError:
            pass
        if time.monotonic() - began < HANG_LIMIT_SECONDS:
            ends.append(time.monotonic() - began)

    def too_large(self):
        """By a client that sends all before it reads, and by one that reads meanwhile."""
        owner = self.world.fresh("St Mary", "owner")
        headers = {"Content-Type": "application/json", "X-CSRF-Token": owner.csrf}
        url, asked = f"{self.gateway.url}/api/v1/servers", 0
        for length in TOO_LARGE * TOO_LARGE_ROUNDS:
            try:
                answer = owner.http.post(url, data="x" * length, headers=headers, timeout=HANG_LIMIT_SECONDS)
            except requests.exceptions.ConnectionError as error:
                raise Failure(f"a body of {length} bytes, after {asked} others: {error}") from error
            found = answer.status_code, answer.headers.get("Content-Type"), answer.json().get("status")
            if found != (413, PROBLEM, 413):
                raise Failure(f"a body of {length} bytes: {found}: {answer.text[:300]}")
            asked += 1
        for length in TOO_LARGE * (TOO_LARGE_ROUNDS // 4):
            for more in [["-H", "Expect:"], []]:
                self.curl(url, owner, length, more)
                asked += 1
        owner.get("/servers")
        return f"{asked} bodies"

    def curl(self, url, owner, length, more):
        body = self.gateway.folder / "too-large"
        body.write_bytes(b"x" * length)
        command = [shutil.which("curl") or "curl", "-sS", "--cacert", str(self.gateway.ca), "-X", "POST", *more]
        command += ["-H", "Content-Type: application/json", "-H", f"X-CSRF-Token: {owner.csrf}"]
        command += ["-b", f"__Host-adit_session={owner.cookie()}"]
        command += ["--data-binary", f"@{body}", "-w", "\n%{http_code} %{content_type}", url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_LIMIT_SECONDS)
        text, _, told = done.stdout.rpartition("\n")
        if done.returncode != 0 or told != f"413 {PROBLEM}" or json.loads(text)["status"] != 413:
            raise Failure(f"curl with {length} bytes {more}: {done.returncode} {told} {done.stderr} {text[:300]}")


def everything(tls):
    received = b""
    try:
        while part := tls.recv(65_536):
            received += part
    except OSError:
        pass
    return received


def status(answer):
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
    return found[1].decode() if found else None


HOST = b"Host: localhost\r\n"
LENGTH = b"Content-Length: 5"
CHUNKED = b"Transfer-Encoding: chunked"
# What stands between the request line and the empty line: two readers could find different ends of the request
# (RFC 9112 §6.1, §6.3, §7.1, §5.2, §3.2).
FORMS = [
    HOST + LENGTH + b"\r\n" + CHUNKED,
    HOST + CHUNKED + b"\r\n" + LENGTH,
    HOST + CHUNKED,
    HOST + CHUNKED + b"\r\n" + CHUNKED,
    HOST + b"Transfer-Encoding: identity\r\n" + LENGTH,
    HOST + b"Transfer-Encoding: xchunked\r\n" + LENGTH,
    HOST + b"Transfer-Encoding: chunked, identity\r\n" + LENGTH,
    HOST + b"Transfer-Encoding : chunked\r\n" + LENGTH,
    HOST + b"Transfer-Encoding\t: chunked\r\n" + LENGTH,
    HOST + b"Transfer-Encoding:\x0bchunked\r\n" + LENGTH,
    HOST + b"X: y\r\n Transfer-Encoding: chunked\r\n" + LENGTH,
    HOST + b"Transfer-Encoding:\r\n chunked\r\n" + LENGTH,
    HOST + b"X: y\rTransfer-Encoding: chunked\r\n" + LENGTH,
    HOST + b"X: y\0\r\n" + LENGTH,
    HOST + b"Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding\r\n" + LENGTH,
    HOST + LENGTH + b"\r\nContent-Length: 6",
    HOST + LENGTH + b", 6",
    HOST + LENGTH + b", 5",
    HOST + b"Content-Length: +5",
    HOST + b"Content-Length: -5",
    HOST + b"Content-Length: 0x5",
    HOST + b"Content-Length: 5 5",
    HOST + b"Content-Length: five",
    HOST + b"Content-Length:",
    HOST + b"Content-Length: 18446744073709551621",
    HOST + b"Content Length: 5",
    HOST + LENGTH + b"\r\n X: folded",
    HOST + b"Host: other.example\r\n" + LENGTH,
    HOST + b"Host: localhost\r\n" + LENGTH,
    LENGTH,
]
# Sizes of chunks: whoever takes chunks reads them, whoever does not must not take what follows for a request.
SIZES = [b"G", b"-5", b"+5", b"0x5", b"5;", b"5 ;x=\n", b"F" * 17, b"0" * 18 + b"5", b"5\n", b""]
FORMS += [HOST + CHUNKED + b"\r\n\r\n" + size + b"\r\nhello" for size in SIZES]
REQUEST_LINES = [
    b"PRI * HTTP/2.0\r\n",
    b"GET /api/v1/servers HTTP/1.0\r\nTransfer-Encoding: chunked\r\n",
    b"GET /api/v1/servers HTTP/1.1 \r\n",
    b"GET  /api/v1/servers HTTP/1.1\r\n",
    b"GET /api/v1/servers HTTP/1.1\r\n X: folded\r\n",
    b"GET /api/v1/servers HTTP/9.9\r\n",
    b"GET /api/v1/servers\r\n",
    b"\0\r\n",
]
