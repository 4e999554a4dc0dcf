"""A gateway as its operator starts it, and the people of two organizations who sign in to it, over HTTPS."""

import hashlib
import hmac
import json
import re
import subprocess
import sys
from pathlib import Path

import requests

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from processes import Failure, await_port, eventually, free_port, run  # noqa: E402

COMMAND_TIMEOUT_SECONDS = 60
ANSWER_TIMEOUT_SECONDS = 60
ROLES = ["owner", "operator", "auditor"]


class Gateway:
    """Serves at a free port of this machine, from a folder of its own."""

    def __init__(self, adit, processes, database=None, log="trace"):
        self.adit, self.processes = Path(adit), processes
        self.folder = processes.folder
        self.port, self.metrics_port = free_port(), free_port()
        self.config = self.folder / "gateway.toml"
        self.state = self.folder / "state"
        lines = [
            # A client that offers HTTP/1.1 alone is taken for an agent at the gateway's own name.
            f'name = "127.0.0.1:{self.port}"',
            f'listen = "127.0.0.1:{self.port}"',
            f'state = "{self.state}"',
            'trust_domain = "lab.adit.test"',
            f'metrics = "127.0.0.1:{self.metrics_port}"',
        ]
        if database:
            lines.append(f'database = "{database}"')
        self.ca, key = self.folder / "console.pem", self.folder / "console.key"
        self._make_certificate(key)
        lines += ["[console]", f'name = "localhost:{self.port}"', f'certificate = "{self.ca}"', f'key = "{key}"']
        self.config.write_text("\n".join(lines) + "\n")
        self.config.chmod(0o600)
        self._log = log
        self.url = f"https://localhost:{self.port}"

    def _make_certificate(self, key):
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command += ["-keyout", key, "-out", self.ca, "-days", "30", "-subj", "/CN=localhost"]
        run(command + ["-addext", "subjectAltName=DNS:localhost"], COMMAND_TIMEOUT_SECONDS)
        key.chmod(0o600)

    def command(self, *words):
        """Runs `adit WORDS --config …`; gives what it printed."""
        return run([self.adit, *words, "--config", self.config], COMMAND_TIMEOUT_SECONDS)

    def admin(self, *words):
        return run([self.adit, "admin", "--config", self.config, *words], COMMAND_TIMEOUT_SECONDS)

    def init(self, organization, email):
        """Makes the first organization; gives its owner's token."""
        words = ["gateway", "init", "--organization", organization, "--email", email, "--tier", "standard"]
        return token_in(self.command(*words))

    def start(self):
        command = [self.adit, "gateway", "--config", self.config]
        self.process = self.processes.start("gateway", command, environment={"ADIT_LOG": self._log})
        await_port(self.port, self.processes)

    def log(self):
        return self.processes.log("gateway").read_bytes()

    def metrics(self):
        return requests.get(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=ANSWER_TIMEOUT_SECONDS).content

    def resident_bytes(self):
        """What it has in memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024

    def shown(self):
        """Which certificates are shown to one who asks for the console and to one who names nobody."""
        said = []
        for name in (["-servername", "localhost"], ["-noservername"]):
            command = ["openssl", "s_client", "-connect", f"127.0.0.1:{self.port}", "-showcerts", *name]
            done = subprocess.run(command, input=b"", capture_output=True, timeout=COMMAND_TIMEOUT_SECONDS)
            lines = (done.stdout + done.stderr).decode(errors="replace").splitlines()
            chain = [line.strip() for line in lines if re.match(r"\s*(\d+ s|i):|.*errno", line)]
            said.append(f"{' '.join(name)}: {'; '.join(chain)}")
        return "\n".join(said)

    def person(self, source=None):
        return Person(self, source)


def token_in(text):
    """The token of a link."""
    found = re.search(r"/invitation#([0-9a-f]{64})", text)
    if not found:
        raise Failure(f"no link of an invitation in: {text}")
    return found[1]


class From(requests.adapters.HTTPAdapter):
    """Connects from one address of this host."""

    def __init__(self, source):
        self._source = source
        super().__init__()

    def init_poolmanager(self, *arguments, **named):
        super().init_poolmanager(*arguments, source_address=(self._source, 0), **named)


class Person:
    """A browser, or a program with a token; keeps every answer that it got."""

    def __init__(self, gateway, source=None):
        self.gateway = gateway
        self.http = requests.Session()
        if source:
            self.http.mount("https://", From(source))
        self.http.verify = str(gateway.ca)
        self.http.trust_env = False
        self.csrf = None
        self.bearer = None
        self.answers = []

    def ask(self, method, path, body=None, expect=None, headers=None, **more):
        """Asks `path` below /api/v1; fails unless the status is what is expected."""
        headers = dict(headers or {})
        if self.bearer:
            headers.setdefault("Authorization", f"Bearer {self.bearer}")
        elif self.csrf and method not in ("GET", "HEAD"):
            headers.setdefault("X-CSRF-Token", self.csrf)
        url = path if path.startswith("https:") else f"{self.gateway.url}/api/v1{path}"
        try:
            answer = self.http.request(
                method, url, json=body, headers=headers, timeout=ANSWER_TIMEOUT_SECONDS, allow_redirects=False, **more
            )
        except requests.exceptions.SSLError as error:
            raise Failure(f"{method} {path}: {error}; now these are shown:\n{self.gateway.shown()}") from error
        self.answers.append((method, path, answer))
        if expect is not None and answer.status_code != expect:
            raise Failure(f"{method} {path}: {answer.status_code} instead of {expect}: {answer.text[:600]}")
        return answer

    def get(self, path, **more):
        return self.ask("GET", path, expect=200, **more).json()

    def post(self, path, body=None, expect=None, **more):
        answer = self.ask("POST", path, body if body is not None else {}, **more)
        wanted = (200, 201, 202, 204) if expect is None else (expect,)
        if answer.status_code not in wanted:
            raise Failure(f"POST {path}: {answer.status_code} instead of {wanted}: {answer.text[:600]}")
        return answer.json() if answer.content else None

    def accept(self, token, name, password):
        return self.post("/invitations/accept", {"token": token, "name": name, "password": password})

    def sign_in(self, organization, email, password, **more):
        answer = self.post("/session", {"organization": organization, "email": email, "password": password}, **more)
        self.csrf = answer.get("csrf_token")
        return answer

    def cookie(self):
        return self.http.cookies.get("__Host-adit_session")

    def token(self, name, role, days=1):
        """Makes an API token; gives one who shows it."""
        made = self.post("/account/api-tokens", {"name": name, "role": role, "days": days})
        program = Person(self.gateway)
        program.bearer = made["token"]
        return program


def domain_of(organization):
    return organization.lower().replace(" ", "") + ".example"


def password_of(email):
    """A password that nobody else has; the same each time."""
    return "pw-" + hashlib.sha256(email.encode()).hexdigest()[:28]


class Partnership:
    """Lakeside and St Mary, with a user of each role, and an outsider; St Mary's ADT goes from Lakeside to it."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.people = {}
        first = gateway.init("Lakeside", "owner@lakeside.example")
        gateway.start()
        self._people_of("Lakeside", first)
        for name in ["St Mary", "Outside"]:
            self.add(name)

    def add(self, organization):
        """Makes one more organization, with a user of each role."""
        self.gateway.admin("org", "add", organization, "--tier", "standard")
        words = ["--as", organization, "--role", "owner"]
        said = self.gateway.admin("user", "invite", f"owner@{domain_of(organization)}", *words)
        self._people_of(organization, token_in(said))

    def _people_of(self, organization, token):
        domain = domain_of(organization)
        owner = self._join(organization, f"owner@{domain}", token)
        for role in ROLES[1:]:
            email = f"{role}@{domain}"
            invited = owner.post("/invitations", {"email": email, "role": role, "life": "24h"})
            self._join(organization, email, token_in(invited["link"]))

    def _join(self, organization, email, token):
        person = self.gateway.person()
        person.accept(token, email.split("@")[0].title(), password_of(email))
        person.sign_in(organization, email, password_of(email))
        self.people[organization, email.split("@")[0]] = person
        return person

    def owner(self, organization):
        return self.people[organization, "owner"]

    def peer(self):
        """Makes what the two have together; gives the ids by name."""
        lakeside, stmary = self.owner("Lakeside"), self.owner("St Mary")
        made = {}
        made["source_server"] = lakeside.post("/servers", server("Lakeside Mirth"))["id"]
        made["target_server"] = stmary.post("/servers", server("St Mary Mirth"))["id"]
        made["channel"] = stmary.post(
            "/channels",
            {"server": made["target_server"], "name": "ADT", "description": "", "protocol": "mllp", "published": True},
        )["id"]
        names = {row["name"]: row["id"] for row in lakeside.get("/organizations")["rows"]}
        made["organization"] = names["St Mary"]
        made["peering"] = lakeside.post("/peerings", {"organization": names["St Mary"]})["id"]
        stmary.post(f"/peerings/{made['peering']}/accept")
        made["grant"] = lakeside.post(
            "/grants/request", {"channel": made["channel"], "source_server": made["source_server"]}
        )["id"]
        stmary.post(f"/grants/{made['grant']}/approve", {})
        made["connection"] = lakeside.get("/connections")["rows"][0]["id"]
        return made


def server(name):
    return {"name": name, "description": "", "version": "4.5.2"}


def totp(secret_base32, at):
    """The code of a step (RFC 6238, SHA-1, 6 digits, 30 s)."""
    import base64

    key = base64.b32decode(secret_base32 + "=" * (-len(secret_base32) % 8))
    digest = hmac.new(key, int(at // 30).to_bytes(8, "big"), hashlib.sha1).digest()
    offset = digest[-1] & 15
    return f"{(int.from_bytes(digest[offset : offset + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06}"


__all__ = ["Failure", "Gateway", "Partnership", "Person", "domain_of", "eventually", "json", "password_of", "server"]
__all__ += ["token_in", "totp"]
