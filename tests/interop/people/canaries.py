"""Every secret there is, searched for where none may be: log, database, audit, metrics, description, other answers.

The whole API is asked as everybody; each secret may be in the one answer that shows it, and nowhere else, in no
encoding.
"""

import base64
import re
import subprocess
import time
import urllib.parse

from gateway import Failure, Partnership, password_of, token_in, totp


def cases(_arguments, gateway, dump):
    story = Story(gateway)
    yield "the whole API is asked as everybody", story.tell
    yield "no secret is in the log at trace", lambda: story.search("log", gateway.log())
    yield "no secret is in the database", lambda: story.search("database", dump())
    yield "no secret is in the audit's export", lambda: story.search("audit", story.audit())
    yield "no secret is in the metrics", lambda: story.search("metrics", gateway.metrics())
    yield "no secret is in the description", lambda: story.search("description", story.description())
    yield "each secret is in the one answer that shows it", story.search_answers


class Story:
    def __init__(self, gateway):
        self.gateway = gateway
        # By what it is: the secret, and in how many answers it stands.
        self.secrets = {}
        self.people = []
        self.is_told = False

    def secret(self, what, text, shown=1):
        self.secrets[f"{what} {len(self.secrets)}"] = (text, shown)
        return text

    def tell(self):
        partnership = Partnership(self.gateway)
        self.people = list(partnership.people.values())
        made = partnership.peer()
        owner, stmary = partnership.owner("Lakeside"), partnership.owner("St Mary")
        for (organization, role), person in partnership.people.items():
            domain = organization.lower().replace(" ", "") + ".example"
            self.secret(f"password of {role}@{domain}", password_of(f"{role}@{domain}"), 0)
            self.secret("cookie", person.cookie(), 0)
            self.secret("CSRF token", person.csrf, 1)
        invited = owner.post("/invitations", {"email": "new@lakeside.example", "role": "auditor", "life": "1h"})
        self.secret("invitation", token_in(invited["link"]))
        program = owner.token("canary", "owner")
        self.secret("API token", program.bearer.removeprefix("adit_"))
        self.people.append(program)
        self.second_factor(owner)
        for person in (owner, stmary):
            shown = person.post(f"/connections/{made['connection']}/view-secret")
            # The one secret, viewed by each of its owners.
            self.secrets["shared secret"] = (shown["secret"], 2)
        connector = stmary.post(f"/servers/{made['target_server']}/connector", {"life": "1h"})
        text = connector["file"]
        self.secret("registration token", re.search(r"[0-9a-f]{64}", re.sub(r"sha256:[0-9a-f]{64}", "", text))[0])
        owner.post(f"/connections/{made['connection']}/rotate-secrets")
        for name in ["sealing.key", "ca.p8"]:
            self.secret(name, (self.gateway.state / name).read_bytes().strip(), 0)
        self.read_everything()
        self.is_told = True
        return f"{len(self.secrets)} secrets, {sum(len(person.answers) for person in self.people)} answers"

    def second_factor(self, owner):
        begun = owner.post("/account/second-factor", {"password": password_of("owner@lakeside.example")})
        seed = re.search(r"secret=([A-Z2-7]+)", begun["link"])[1]
        self.secret("TOTP seed", seed)
        raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
        self.secret("TOTP seed", raw.hex())
        confirmed = owner.ask("PUT", "/account/second-factor", {"code": totp(seed, time.time())}, expect=200).json()
        # Another session from here on, as at each raise of rights.
        owner.csrf = self.secret("CSRF token", confirmed["session"]["csrf_token"], 1)
        self.secret("cookie", owner.cookie(), 0)
        for code in confirmed["recovery_codes"]:
            self.secret("recovery code", code)

    def read_everything(self):
        """Every GET there is, as everybody."""
        described = self.people[0].get("/openapi.json")
        ids = self.ids()
        for path, operations in described["paths"].items():
            if "get" not in operations or "/events" in path or "callback" in path:
                continue
            path = path.removeprefix("/api/v1")
            name = re.search(r"^/([a-z-]+)/\{", path)
            for person in self.people:
                for id in ids.get(name[1], ["none"])[:3] if name else [None]:
                    person.ask("GET", re.sub(r"\{[^}]+\}", id or "", path))

    def ids(self):
        ids = {}
        for person in self.people:
            for kind in ["organizations", "servers", "channels", "peerings", "grants", "connections", "users"]:
                answer = person.ask("GET", f"/{kind}")
                if answer.status_code == 200:
                    ids.setdefault(kind, []).extend(row["id"] for row in answer.json()["rows"])
        return ids

    def audit(self):
        export = self.people[0].ask("GET", "/audit/export?format=jsonl", expect=200).content
        return export + self.people[0].ask("GET", "/audit/export?format=csv", expect=200).content

    def description(self):
        return self.people[0].ask("GET", "/openapi.json", expect=200).content

    def search(self, where, content):
        if not content or not self.is_told:
            raise Failure(f"nothing to search: {where}")
        found = [what for what, (text, _) in self.secrets.items() if any(form in content for form in forms(text))]
        if found:
            raise Failure(f"in the {where}: {found}")
        return f"{len(content)} bytes"

    def search_answers(self):
        if not self.is_told:
            raise Failure("nothing to search: answers")
        answers = [answer for person in self.people for _, _, answer in person.answers]
        wrong = []
        for what, (text, shown) in self.secrets.items():
            wanted = forms(text)
            count = sum(any(form in answer.content for form in wanted) for answer in answers)
            if what.startswith("CSRF"):
                # Shown to its own session whenever it asks what session it is.
                continue
            if count != shown:
                wrong.append(f"{what}: in {count} answers instead of {shown}")
        if wrong:
            raise Failure("; ".join(wrong))
        return f"{len(answers)} answers"


def forms(secret):
    """How it may be written: as it is, its bytes in hexadecimal, base64 and URL encoding."""
    text = secret if isinstance(secret, bytes) else secret.encode()
    raws = [text]
    if re.fullmatch(rb"[0-9a-f]{32,}", text):
        raws.append(bytes.fromhex(text.decode()))
    found = set()
    for raw in raws:
        found |= {raw, raw.hex().encode(), raw.hex().upper().encode()}
        found |= {base64.b64encode(raw).rstrip(b"="), base64.urlsafe_b64encode(raw).rstrip(b"=")}
        found |= {base64.b32encode(raw).rstrip(b"="), urllib.parse.quote(raw).encode()}
    return [form for form in found if len(form) >= 8]


def dump_sqlite(gateway):
    names = sorted(gateway.state.glob("platform.db*"))
    return b"".join(name.read_bytes() for name in names)


def dump_postgres(url):
    return subprocess.run(["pg_dump", "--inserts", url], check=True, capture_output=True).stdout
