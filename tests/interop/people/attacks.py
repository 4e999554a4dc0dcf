"""What people with bad intentions try at the API, each as they would: over the network, with a client of their own."""

import socket
import ssl
import threading
import time
import uuid

import ids
import raw_requests
from gateway import Failure, Partnership, eventually, password_of, server, token_in

SESSION = "__Host-adit_session"
MISSING = str(uuid.UUID(int=0xBAD))
HANG_LIMIT_SECONDS = 120


def cases(arguments, gateway):
    world = World(gateway, arguments.long)
    names = [name for name in dir(world) if name.startswith("case_")]
    for name in names:
        yield name.removeprefix("case_").replace("_", " "), getattr(world, name)
    yield from raw_requests.cases(world)
    yield from ids.cases(world)


class World:
    def __init__(self, gateway, long):
        self.gateway, self.long = gateway, long
        self.partnership = Partnership(gateway)
        self.made = self.partnership.peer()

    def fresh(self, organization, role, source=None):
        """A user of that role, signed in anew."""
        person = self.gateway.person(source)
        email = f"{role}@{organization.lower().replace(' ', '')}.example"
        person.sign_in(organization, email, password_of(email))
        return person

    def case_a_session_is_never_the_one_that_was_planted(self):
        person = self.gateway.person()
        planted = "ab" * 32
        person.http.cookies.set(SESSION, planted, domain="localhost.local", path="/", secure=True)
        person.ask("GET", "/account", headers={"Cookie": f"{SESSION}={planted}"}, expect=401)
        first = self.fresh("Lakeside", "owner")
        kept = first.cookie()
        again = self.gateway.person()
        email = "owner@lakeside.example"
        again.post(
            "/session",
            {"organization": "Lakeside", "email": email, "password": password_of(email)},
            headers={"Cookie": f"{SESSION}={kept}"},
        )
        same(again.cookie() not in (kept, planted, None), True, "the cookie after signing in is another one")

    def case_a_change_needs_the_token_that_other_sites_cannot_read(self):
        person = self.fresh("Lakeside", "owner")
        csrf, person.csrf = person.csrf, None
        body = server("Cross Site")
        own, other = self.gateway.url, "https://evil.example"
        for headers, status in [
            ({}, 403),
            ({"X-CSRF-Token": "0" * 64}, 403),
            ({"Origin": own}, 403),
            ({"X-CSRF-Token": csrf, "Origin": other}, 403),
            ({"X-CSRF-Token": csrf, "Origin": "null"}, 403),
            ({"X-CSRF-Token": csrf, "Sec-Fetch-Site": "cross-site"}, 403),
            ({"X-CSRF-Token": self.fresh("Lakeside", "owner").csrf}, 403),
            ({"X-CSRF-Token": csrf, "Origin": own}, 201),
        ]:
            person.ask("POST", "/servers", body, headers=headers, expect=status)
            body = server(f"Same Site {status}")
        servers = [row["name"] for row in person.get("/servers")["rows"]]
        same("Cross Site" in servers, False, "what was refused is not made")

    def case_a_cookie_of_another_organization_finds_nothing(self):
        outsider = self.fresh("Outside", "owner")
        for kind in ["servers", "channels", "peerings", "grants", "connections"]:
            key = {"servers": "target_server"}.get(kind, kind.removesuffix("s"))
            forbidden = outsider.ask("GET", f"/{kind}/{self.made[key]}", expect=404)
            missing = outsider.ask("GET", f"/{kind}/{MISSING}", expect=404)
            same(forbidden.content, missing.content, f"the answers for /{kind}")
            dull = lambda answer: {k: v for k, v in answer.headers.items() if k.lower() != "date"}
            same(dull(forbidden), dull(missing), f"the headers for /{kind}")

    def case_a_role_that_is_taken_away_is_gone_with_the_next_request(self):
        owner, operator = self.fresh("Lakeside", "owner"), self.fresh("Lakeside", "operator")
        operator.post("/servers", server("Before"), expect=201)
        id = next(row["id"] for row in owner.get("/users")["rows"] if row["role"] == "operator")
        self.patch(owner, f"/users/{id}", {"role": "auditor"})
        operator.ask("POST", "/servers", server("After"), expect=403)
        self.patch(owner, f"/users/{id}", {"role": "operator"})
        self.patch(owner, f"/users/{id}", {"disabled": True})
        operator.ask("GET", "/servers", expect=401)
        self.patch(owner, f"/users/{id}", {"disabled": False})
        operator.ask("GET", "/servers", expect=401)
        self.fresh("Lakeside", "operator").get("/servers")

    @staticmethod
    def patch(person, path, body):
        etag = person.ask("GET", path, expect=200).headers.get("ETag")
        person.ask("PATCH", path, body, headers={"If-Match": etag} if etag else {}, expect=200)

    def case_bodies_that_are_bombs_are_refused(self):
        owner = self.fresh("Lakeside", "owner")
        headers = {"Content-Type": "application/json", "X-CSRF-Token": owner.csrf}
        for text, statuses in [
            ("[" * 30_000 + "]" * 30_000, (400, 422)),
            ('{"name":' * 6_000 + "1" + "}" * 6_000, (400, 422)),
            ('{"name": ' + "9" * 60_000 + "}", (400, 422)),
            ('{"name": "a", "name": "b", "description": "", "version": ""}', (400, 422)),
            ('{"name": "\\ud800", "description": "", "version": ""}', (400, 422)),
            ("", (400, 422)),
            ("null", (400, 422)),
        ]:
            answer = owner.http.post(
                f"{self.gateway.url}/api/v1/servers", data=text, headers=headers, timeout=HANG_LIMIT_SECONDS
            )
            if answer.status_code not in statuses:
                raise Failure(f"{text[:40]}…: {answer.status_code} instead of {statuses}")
        owner.get("/servers")

    def case_slow_bodies_keep_nobody_out(self):
        context = ssl.create_default_context(cafile=str(self.gateway.ca))
        slow = []
        for _ in range(40):
            raw = socket.create_connection(("127.0.0.1", self.gateway.port), timeout=HANG_LIMIT_SECONDS)
            tls = context.wrap_socket(raw, server_hostname="localhost")
            tls.sendall(
                b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: 1000\r\n\r\n{"
            )
            slow.append(tls)
        began = time.monotonic()
        self.fresh("Lakeside", "auditor", "127.0.0.9").get("/servers")
        beside = time.monotonic() - began
        for tls in slow:
            tls.settimeout(HANG_LIMIT_SECONDS)
            try:
                while tls.recv(4096):
                    pass
            except OSError:
                pass
            tls.close()
        return f"an honest sign-in took {beside:.1f} s, the last slow one was ended after {time.monotonic() - began:.0f} s"

    def case_many_wrong_passwords_keep_the_owner_out_of_nothing(self):
        honest = self.fresh("Lakeside", "owner", "127.0.0.9")
        attempts, statuses, email = (10_000 if self.long else 300), {}, "owner@lakeside.example"
        done = threading.Event()

        def attack(number):
            attacker = self.gateway.person(f"127.0.1.{number + 1}")
            for number in range(attempts // 4):
                body = {"organization": "Lakeside", "email": email, "password": f"wrong password {number}"}
                status = attacker.ask("POST", "/session", body).status_code
                attacker.answers.clear()
                statuses[status] = statuses.get(status, 0) + 1

        threads = [threading.Thread(target=attack, args=[number]) for number in range(4)]
        for thread in threads:
            thread.start()
        took = []
        while any(thread.is_alive() for thread in threads) or not took:
            began = time.monotonic()
            honest.sign_in("Lakeside", email, password_of(email))
            took.append(time.monotonic() - began)
            done.wait(0.2)
        for thread in threads:
            thread.join()
        same(set(statuses) <= {401, 429}, True, f"the attackers' answers are {statuses}")
        same(429 in statuses, True, f"attackers are told to wait: {statuses}")
        return f"{sum(statuses.values())} attempts: {statuses}; the owner signed in {len(took)} times, in {max(took):.1f} s at most"

    def case_a_credential_in_the_url_is_worth_nothing_and_in_no_log(self):
        owner = self.fresh("Lakeside", "owner")
        program = owner.token("in the url", "auditor")
        stranger = self.gateway.person()
        invited = owner.post("/invitations", {"email": "url@lakeside.example", "role": "auditor", "life": "1h"})
        invitation = token_in(invited["link"])
        for query in [f"access_token={program.bearer}", f"token={program.bearer}", f"session={owner.cookie()}"]:
            for path in ["/servers", "/account", "/events", "/audit/export", "/session"]:
                status = stranger.ask("GET", f"{path}?{query}").status_code
                same(status in (400, 401), True, f"the status {status} of {path}")
        for path in [f"/servers/{program.bearer}", f"/{owner.cookie()}", f"/invitations/{invitation}"]:
            same(stranger.ask("GET", path).status_code in (401, 404, 405), True, path)
        taken = stranger.ask("POST", f"/invitations/accept?token={invitation}", {"name": "X", "password": "y" * 20})
        same(taken.status_code in (400, 422), True, f"the status {taken.status_code} of an invitation in the URL")
        both = {"Authorization": f"Bearer {program.bearer}"}
        owner.ask("GET", "/servers", headers=both, expect=400)
        told = [("log", self.gateway.log()), ("metrics", self.gateway.metrics())]
        told.append(("audit", owner.ask("GET", "/audit/export?format=csv", expect=200).content))
        for secret in [program.bearer, program.bearer.removeprefix("adit_"), owner.cookie(), invitation]:
            for where, text in told:
                same(secret.encode() in text, False, f"the {where} has it")

    def case_nobody_is_led_to_another_site(self):
        stranger, evil = self.gateway.person(), "evil.example"
        callback = "/session/single-sign-on/callback"
        for query in [
            "",
            f"?error=https://{evil}/&state=//{evil}/",
            f"?state={'a' * 64}&code=b&iss=https://{evil}",
            f"?go_to=https://{evil}&state={'a' * 64}&code=b",
            f"?error=%0d%0aLocation:%20https://{evil}/",
        ]:
            answer = stranger.ask("GET", callback + query)
            to = answer.headers.get("Location", "/")
            same(to.startswith("/") and to[1:2] not in ("/", "\\") and evil not in to, True, f"{query} leads to {to}")
        host = {"Host": evil, "X-Forwarded-Host": evil, "Forwarded": f"host={evil}"}
        paths = [f"//{evil}/", f"/%2f%2f{evil}", f"/\\{evil}/", f"/api/v1//{evil}/..", "/api/v1/servers/", "/api/v1", "/"]
        for path in paths:
            for headers in [{}, host]:
                answer = stranger.ask("GET", f"{self.gateway.url}{path}", headers=headers)
                to = answer.headers.get("Location", "/")
                same(evil in to or to.startswith("//"), False, f"{path} leads to {to}")
                same(answer.status_code < 500, True, f"the status {answer.status_code} of {path}")
        body = {"organization": "Lakeside", "go_to": f"https://{evil}/"}
        answer = stranger.ask("POST", "/session/single-sign-on", body)
        same(evil.encode() in answer.content, False, "another site in the answer")


def same(found, expected, what):
    if found != expected:
        raise Failure(f"{what}: {found!r} instead of {expected!r}")


__all__ = ["cases", "eventually"]
