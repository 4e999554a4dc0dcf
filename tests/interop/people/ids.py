"""Every id there is, in every place of the served description that takes one, as everybody whom it does not concern:
it must be as if there were no such thing. And nothing may be changed by all the asking.
"""

import json
import re
import statistics
import time
import uuid

import requests
from gateway import Failure, domain_of, password_of, server

OWNERS = [("Lakeside", "owner"), ("St Mary", "owner"), ("Outside", "owner"), ("Clinic", "owner")]
AUDITORS = [("Outside", "auditor"), ("Lakeside", "operator"), ("Lakeside", "auditor")]
AUDITORS += [("St Mary", "operator"), ("St Mary", "auditor")]
NOBODY = ("nobody", "")
EVERYBODY = {"Lakeside", "St Mary", "Outside", "Clinic"}
# Of users, their invitations and their own: no operator changes them.
BY_USER = {"users", "invitations", "account/sessions", "account/api-tokens", "organization/api-tokens"}
TRIES_OF_TIMING, PAIRS = 3, 150
# What the median of one may differ from the other's: by so much of it, and by so many seconds, in each try.
GROSS_SHARE, GROSS_SECONDS = 0.25, 0.0005


def cases(world):
    ids = Ids(world)
    yield "every id in every path is missing for whom it does not concern", ids.in_paths
    yield "every id in a body or a query is missing for whom it does not concern", ids.elsewhere
    yield "roles that may not change change nothing", ids.by_lower_roles
    yield "what is forbidden takes as long as what is missing", ids.timing
    yield "fields that nobody asked for are refused everywhere", ids.mass_assignment


class Thing:
    """An id, what it is of, and who is shown the thing: organizations, or single users."""

    def __init__(self, kind, id, seen_by):
        self.kind, self.id, self.seen_by = kind, id, seen_by

    def is_seen_by(self, asker):
        return asker in self.seen_by or asker[0] in self.seen_by


class Ids:
    def __init__(self, world):
        self.world, self.gateway, self.partnership = world, world.gateway, world.partnership
        self.has_begun, self.things = False, []

    def begin(self):
        """Makes what is asked for, once, when whatever else is tried is over."""
        if self.has_begun and not self.things:
            raise Failure("what is asked for could not be made, as the first case says")
        if self.has_begun:
            return
        self.has_begun = True
        self.partnership.add("Clinic")
        self.description = self.gateway.person().get("/openapi.json")
        self.askers = {asker: self.signed_in(*asker) for asker in OWNERS + AUDITORS}
        self.askers[NOBODY] = self.gateway.person()
        self.things = [Thing(*thing) for thing in self.make()]
        self.program = self.askers["Outside", "owner"].token("timing", "owner")
        self.before = self.everything()

    def signed_in(self, organization, role):
        person, email = self.gateway.person(), f"{role}@{domain_of(organization)}"
        body = {"organization": organization, "email": email, "password": password_of(email)}
        person.csrf = self.ask(person, "POST", "/session", body).json()["csrf_token"]
        return person

    def make(self):
        """Has St Mary own one of each kind; Clinic has an agreement with it and nothing else."""
        stmary, clinic = self.askers["St Mary", "owner"], self.askers["Clinic", "owner"]
        made, owner = self.world.made, ("St Mary", "owner")
        named = {row["name"]: row["id"] for row in clinic.get("/organizations?count=500")["rows"]}
        self.stmary = named["St Mary"]
        agreement = clinic.post("/peerings", {"organization": self.stmary})["id"]
        stmary.post(f"/peerings/{agreement}/accept")
        self.own_servers = {("Clinic", "owner"): clinic.post("/servers", server("Clinic Mirth"))["id"]}
        self.own_servers["Outside", "owner"] = self.askers["Outside", "owner"].post("/servers", server("Out"))["id"]
        self.own_servers["Lakeside", "owner"] = made["source_server"]
        self.own_servers[owner] = made["target_server"]
        channel = {"server": made["target_server"], "name": "Hidden", "protocol": "mllp", "published": False}
        self.hidden = stmary.post("/channels", channel)["id"]
        offer = {"server": made["target_server"], "recipient": named["Lakeside"], "access": "read-only"}
        self.offer = stmary.post("/offers", offer)["id"]
        stmary.post(f"/servers/{made['target_server']}/connector", {"life": "1h"})
        both = {"Lakeside", "St Mary"}
        yield "servers", made["target_server"], {"St Mary"}
        yield "servers", made["source_server"], {"Lakeside"}
        yield "channels", made["channel"], {"St Mary", "Lakeside", "Clinic"}
        yield "channels", self.hidden, {"St Mary"}
        yield "grants", made["grant"], both
        yield "peerings", made["peering"], both
        yield "peerings", agreement, {"St Mary", "Clinic"}
        yield "connections", made["connection"], both
        yield "connections", self.offer, both
        yield "offers", self.offer, both
        yield "offers", made["connection"], both
        yield "organizations", self.stmary, EVERYBODY
        for row in stmary.get("/users")["rows"]:
            yield "users", row["id"], {"St Mary"}
        invited = {"email": f"later@{domain_of('St Mary')}", "role": "auditor", "life": "24h"}
        stmary.post("/invitations", invited)
        for row in stmary.get("/invitations")["rows"]:
            yield "invitations", row["id"], {owner}
        stmary.post("/account/api-tokens", {"name": "ids", "role": "auditor", "days": 1})
        for kind in ["sessions", "api-tokens"]:
            for row in stmary.get(f"/account/{kind}")["rows"]:
                yield f"account/{kind}", row["id"], {owner}
        for row in stmary.get("/organization/api-tokens")["rows"]:
            yield "organization/api-tokens", row["id"], {"St Mary"}

    def everything(self):
        """What each organization's owner is shown of it all, but for what changes by itself."""
        lists = ["servers", "channels", "grants", "peerings", "connections?ended=true", "users", "invitations"]
        return {
            (asker, path): [dull(row) for row in self.ask(self.askers[asker], "GET", f"/{path}").json()["rows"]]
            for asker in OWNERS
            for path in lists + ["account/api-tokens", "organization/api-tokens"]
        }

    def is_unchanged(self):
        for key, rows in self.everything().items():
            if rows != self.before[key]:
                raise Failure(f"{key}: {rows} instead of {self.before[key]}")

    @staticmethod
    def ask(person, method, path, body=None, headers=None):
        """Asks, and again when told to wait, or when a connection that was kept had ended by then: nobody who is not
        let in keeps one for long (RFC 9112 §9.3.1)."""
        ended = 0
        while True:
            try:
                answer = person.ask(method, path, body, headers=headers)
            except requests.exceptions.ConnectionError:
                ended += 1
                if ended > 3:
                    raise
                continue
            person.answers.clear()
            if answer.status_code != 429:
                return answer
            time.sleep(float(answer.headers["Retry-After"]))

    def operations(self):
        """Each with an id in its path: method, path, of what kind, and a body that it takes, if any."""
        for path, of in self.description["paths"].items():
            path = path.removeprefix("/api/v1")
            if path == CALLBACK:
                continue
            found = re.fullmatch(r"/(.*)/\{id\}.*", path)
            if not found and "{" in path:
                raise Failure(f"{path}: more than one id; teach this test what stands there")
            for method in [word for word in of if found and word != "parameters"]:
                yield method.upper(), path, found[1], self.body(method, path)

    def body(self, method, path):
        """A body that is taken there by who may."""
        described = self.description["paths"][f"/api/v1{path}"][method].get("requestBody")
        if described is None:
            return None
        try:
            return BODIES[method.upper(), path]
        except KeyError as error:
            raise Failure(f"{method.upper()} {path} takes a body; write one into BODIES") from error

    def in_paths(self):
        self.begin()
        compared = set()
        for method, path, kind, body in self.operations():
            things = [thing for thing in self.things if thing.kind == kind]
            if not things:
                raise Failure(f"{path}: no id of that kind is tried; make one in `make`")
            for asker, person in self.askers.items():
                hidden = [thing for thing in things if not thing.is_seen_by(asker)]
                compared |= {(asker, method, path) for _ in hidden}
                self.compare(asker, person, method, path, body, hidden)
        self.is_unchanged()
        operations = len({(method, path) for _, method, path in compared})
        return f"{operations} operations, {len(self.things)} ids, {len(compared)} operations of an asker"

    def compare(self, asker, person, method, path, body, hidden):
        for headers in [{}, {"If-Match": "*", "If-None-Match": "*"}]:
            if not hidden:
                return
            filled = with_own_server(body, self.own_servers.get(asker))
            missing = self.ask(person, method, path.replace("{id}", str(uuid.uuid4())), filled, headers)
            expected = (401,) if asker == NOBODY else (404,) if asker[1] == "owner" else (403, 404)
            where = f"{asker}, {method} {path}"
            if missing.status_code not in expected + ((428,) if not headers else ()):
                raise Failure(f"{where}, missing: {missing.status_code} instead of {expected}: {missing.text}")
            for thing in hidden:
                forbidden = self.ask(person, method, path.replace("{id}", thing.id), filled, headers)
                is_like(forbidden, missing, f"{where}, {thing.kind} {thing.id}")

    def elsewhere(self):
        self.begin()
        made = self.world.made
        asked = 0
        for asker in [("Outside", "owner"), ("Clinic", "owner"), ("Lakeside", "owner")]:
            person, own = self.askers[asker], self.own_servers[asker]
            others = [id for owner, id in self.own_servers.items() if owner != asker]
            hidden_channels = [self.hidden] + ([made["channel"]] if asker[0] == "Outside" else [])
            channel = {"name": "Theirs", "protocol": "mllp", "published": True}
            shapes = [("POST", "/channels", lambda id: {**channel, "server": id}, others)]
            shapes += [
                ("POST", "/offers", lambda id: {"server": id, "recipient": self.stmary, "access": "read-only"}, others),
                ("POST", "/grants/offer", lambda id: {"channel": id, "holder": self.stmary}, hidden_channels),
                ("POST", "/grants/request", lambda id: {"channel": id, "source_server": own}, hidden_channels),
                ("POST", "/grants/request", lambda id: {"channel": made["channel"], "source_server": id}, others),
                ("POST", f"/offers/{self.offer}/accept", lambda id: {"server": id}, others),
            ]
            for query in ["channels?server", "connections?server"]:
                shapes.append(("GET", f"/{query}=ID", lambda id: None, [made["target_server"]]))
            shapes.append(("GET", "/grants?channel=ID", lambda id: None, [self.hidden]))
            shapes.append(("GET", "/audit?object=ID", lambda id: None, [self.hidden]))
            if asker[0] == "Lakeside":
                # Once there is a connection, its other server is known by its id.
                shapes = [shape for shape in shapes if "?server" not in shape[1]]
            for method, path, body, ids in shapes:
                nothing = str(uuid.uuid4())
                missing = self.ask(person, method, path.replace("ID", nothing), body(nothing))
                for id in ids:
                    forbidden = self.ask(person, method, path.replace("ID", id), body(id))
                    is_like(forbidden, missing, f"{asker}, {method} {path} {body('ID')}")
                    asked += 1
                if method == "POST" and missing.status_code < 400:
                    raise Failure(f"{asker}, {method} {path}: {missing.status_code} for an id of nothing")
        self.is_unchanged()
        return f"{asked} compared"

    def by_lower_roles(self):
        """An auditor sees and changes nothing; an operator does not change who belongs to the organization."""
        self.begin()
        asked = 0
        for asker in [("St Mary", "auditor"), ("Lakeside", "auditor"), ("St Mary", "operator")]:
            for method, path, kind, body in self.operations():
                if method == "GET" or asker[1] == "operator" and kind not in BY_USER:
                    continue
                for thing in [thing for thing in self.things if thing.kind == kind]:
                    for headers in [{}, {"If-Match": "*"}]:
                        target, filled = path.replace("{id}", thing.id), with_own_server(body, None)
                        answer = self.ask(self.askers[asker], method, target, filled, headers)
                        if answer.status_code not in (403, 404, 428):
                            raise Failure(f"{asker}, {method} {target}: {answer.status_code}: {answer.text}")
                        asked += 1
        self.is_unchanged()
        return f"{asked} asked"

    def timing(self):
        """Compares medians of pairs that are asked in turn: a shared machine is as slow for either of them."""
        self.begin()
        made = self.world.made
        said = []
        for method, path, id in [
            ("GET", "/servers/{id}", made["target_server"]),
            ("GET", "/channels/{id}", self.hidden),
            ("GET", "/connections/{id}", made["connection"]),
            ("GET", "/connections/{id}/measurements", made["connection"]),
            ("POST", "/connections/{id}/pause", made["connection"]),
        ]:
            tries = []
            for _ in range(TRIES_OF_TIMING):
                tries.append(self.try_timing(self.program, method, path, id))
                if not tries[-1].is_gross():
                    break
            said.append(f"{method} {path}: {tries[-1]}")
            if all(it.is_gross() for it in tries) and len({it.difference > 0 for it in tries}) == 1:
                raise Failure(f"{method} {path}: {'; '.join(map(str, tries))}")
        return "; ".join(said)

    def try_timing(self, person, method, path, id):
        taken = {True: [], False: []}
        for number in range(2 * PAIRS):
            # First and second in turn, so that neither has the warmer connection.
            is_forbidden = number % 4 in (0, 3)
            target = path.replace("{id}", id if is_forbidden else str(uuid.uuid4()))
            began = time.perf_counter()
            answer = person.ask(method, target)
            took = time.perf_counter() - began
            person.answers.clear()
            if answer.status_code == 429:
                time.sleep(float(answer.headers["Retry-After"]))
                continue
            taken[is_forbidden].append(took)
            # Within the rate that one user has.
            time.sleep(max(0.0, 0.011 - took))
        return Timing(taken[True], taken[False])

    def mass_assignment(self):
        """A field more than is described, in every body that there is, as the owner of what is named."""
        self.begin()
        stmary, made = self.askers["St Mary", "owner"], self.world.made
        own = {"servers": made["target_server"], "channels": self.hidden, "grants": made["grant"]}
        own.update({"offers": self.offer, "organizations": self.stmary})
        asked = 0
        for path, of in self.description["paths"].items():
            path = path.removeprefix("/api/v1")
            for method in [method for method, it in of.items() if method != "parameters" and "requestBody" in it]:
                kind = path.split("/")[1]
                ids = [thing.id for thing in self.things if thing.kind == kind]
                target = path.replace("{id}", own.get(kind) or (ids or [str(uuid.uuid4())])[0])
                for field, value in MORE_FIELDS.items():
                    body = {**(self.body(method, path) or {})}
                    if field in body or field in self.fields(method, path):
                        continue
                    answer = self.ask(stmary, method.upper(), target, {**body, field: value}, {"If-Match": "*"})
                    if answer.status_code != 422:
                        raise Failure(f"{method} {target} with `{field}`: {answer.status_code}: {answer.text[:300]}")
                    asked += 1
        self.is_unchanged()
        return f"{asked} bodies"

    def fields(self, method, path):
        """The fields that a body may have."""
        content = self.description["paths"][f"/api/v1{path}"][method]["requestBody"]["content"]
        schemas = self.description["components"]["schemas"]
        names = re.findall(r"#/components/schemas/(\w+)", json.dumps(content))
        return {field for name in names for field in schemas[name].get("properties", {})}


class Timing:
    def __init__(self, forbidden, missing):
        self.forbidden, self.missing = statistics.median(forbidden), statistics.median(missing)
        self.difference = self.forbidden - self.missing
        spread = statistics.median(abs(took - self.missing) for took in missing)
        # Of a median (1.4826 · MAD stands for the deviation, π/2 for the median's efficiency), of two of them.
        self.error = 1.4826 * spread * (3.1416 / 2 * (1 / len(missing) + 1 / len(forbidden))) ** 0.5

    def is_gross(self):
        return abs(self.difference) > max(GROSS_SHARE * self.missing, GROSS_SECONDS, 4 * self.error)

    def __str__(self):
        of = [self.forbidden, self.missing, self.difference, self.error]
        return "forbidden {:.2f} ms, missing {:.2f} ms, {:+.3f} ± {:.3f} ms".format(*(1e3 * it for it in of))


OTHER = str(uuid.UUID(int=0xBAD))
# By operation, as somebody sends it who may.
# Where a provider sends browsers back to: it leads on to the sign-in page, whoever comes and whatever stands there.
CALLBACK = "/session/single-sign-on/callback/{organization}"
BODIES = {
    ("PUT", "/servers/{id}"): server("Taken over"),
    ("PATCH", "/servers/{id}"): {"name": "Taken over"},
    ("POST", "/servers/{id}/connector"): {"life": "1h"},
    ("PATCH", "/channels/{id}"): {"name": "Taken over"},
    ("POST", "/grants/{id}/approve"): {},
    ("POST", "/offers/{id}/accept"): {"server": "OWN"},
    ("PATCH", "/users/{id}"): {"role": "owner"},
    ("POST", "/users/{id}/sign-in-link"): {"life": "1h"},
    ("POST", "/account/api-tokens"): {"name": "more", "role": "auditor", "days": 1},
    ("PUT", "/account/password"): {"old": "not the old one at all", "new": "nor any new one here"},
    ("POST", "/account/recovery-codes"): {"code": "000000"},
    ("POST", "/account/second-factor"): {"password": "not the password at all"},
    ("PUT", "/account/second-factor"): {"code": "000000"},
    ("DELETE", "/account/second-factor"): {"code": "000000"},
    ("POST", "/channels"): {"server": OTHER, "name": "More", "protocol": "mllp"},
    ("POST", "/grants/offer"): {"channel": OTHER, "holder": OTHER},
    ("POST", "/grants/request"): {"channel": OTHER, "source_server": OTHER},
    ("POST", "/invitations"): {"email": "more@stmary.example", "role": "auditor"},
    ("POST", "/invitations/accept"): {"token": "0" * 64, "password": "nor any new one here"},
    ("POST", "/offers"): {"server": OTHER, "recipient": OTHER, "access": "read-only"},
    ("PATCH", "/organization"): {"name": "Taken over"},
    ("PUT", "/organization/identity-provider"): {
        "issuer": "https://provider.example",
        "client_id": "adit",
        "role_claim": "roles",
    },
    ("PUT", "/organization/second-factor-rule"): {"needed": False},
    ("PUT", "/organization/tier"): {"tier": "Enterprise"},
    ("POST", "/peerings"): {"organization": OTHER},
    ("POST", "/servers"): server("More"),
    ("POST", "/session"): {"organization": "St Mary", "email": "nobody@stmary.example", "password": "none of theirs"},
    ("POST", "/session/second-factor"): {"code": "000000"},
    ("POST", "/session/single-sign-on"): {"organization": "St Mary"},
}
MORE_FIELDS = {
    "id": OTHER,
    "organization": OTHER,
    "organization_id": OTHER,
    "owner": OTHER,
    "user": OTHER,
    "role": "owner",
    "tier": "Enterprise",
    "status": "Active",
    "created_at": "2020-01-01T00:00:00Z",
    "__proto__": {"role": "owner"},
}


def with_own_server(body, own):
    return {key: (own or OTHER) if value == "OWN" else value for key, value in body.items()} if body else body


def is_like(forbidden, missing, where):
    """Whether the two cannot be told apart: status, headers, every byte of the body."""
    told = [(it.status_code, dull_headers(it), it.content) for it in (forbidden, missing)]
    if told[0] != told[1]:
        raise Failure(f"{where}: forbidden {told[0]}, missing {told[1]}")


def dull_headers(answer):
    """Without the time of day, and whether the connection has been asked often enough."""
    return {name: value for name, value in answer.headers.items() if name.lower() not in ("date", "connection")}


def dull(row):
    """A row without what asking itself changes."""
    return {name: value for name, value in row.items() if not re.match(r"last_|used_at|signed_in", name)}

