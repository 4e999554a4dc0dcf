"""The served API against its own description, as each role: no fault of the gateway, no answer that is not described.

schemathesis makes the requests; none of us wrote it.
"""

import concurrent.futures
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from gateway import Failure, Gateway, Partnership
from processes import Processes

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance"
)
TIMEOUT_SECONDS = 1_800
# They end what the others ask with, or do not end.
LEAVE_OUT = ["/api/v1/session", "/api/v1/account/password", "/api/v1/account/sessions", "/api/v1/events"]


ASKERS = {
    "owner of a party": ("St Mary", "owner"),
    "operator of a party": ("St Mary", "operator"),
    "auditor of a party": ("St Mary", "auditor"),
    "owner of an outsider": ("Outside", "owner"),
    "nobody": None,
}


def run_all(arguments):
    """Whether each passed. Each has a gateway of its own: one address may ask only so often."""
    with concurrent.futures.ThreadPoolExecutor(len(ASKERS)) as threads:
        return list(threads.map(lambda name: run_one(arguments, name), ASKERS))


def run_one(arguments, name):
    problem, note = None, None
    with tempfile.TemporaryDirectory() as folder, Processes(Path(folder) / "run") as processes:
        gateway = Gateway(arguments.adit, processes, log="info")
        try:
            partnership = Partnership(gateway)
            partnership.peer()
            whose = ASKERS[name]
            note = run(arguments, gateway, whose and partnership.people[whose], whose and whose[1])
        except (Failure, OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
            problem = f"{error or repr(error)}{processes.last_words()}"
    print(f"{'FAILED' if problem else 'ok':>6}  described, {name}: {problem or note}", flush=True)
    return problem is None


def run(arguments, gateway, person, role):
    command = [Path(sys.executable).with_name("schemathesis"), "run", f"{gateway.url}/api/v1/openapi.json"]
    command += ["--checks", CHECKS, "--tls-verify", str(gateway.ca), "--max-examples", str(arguments.examples)]
    command += ["--seed", str(arguments.seed), "--phases", "examples,coverage,fuzzing", "--no-color"]
    command += ["--continue-on-failure", "--warnings", "off", "--rate-limit", "auto", "--request-retries", "3"]
    for path in LEAVE_OUT:
        command += ["--exclude-path", path]
    if person:
        program = person.token(f"described {role}", role)
        command += ["--header", f"Authorization: Bearer {program.bearer}"]
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=TIMEOUT_SECONDS, cwd=gateway.folder
    )
    said = done.stdout + done.stderr
    if done.returncode != 0:
        raise Failure(f"schemathesis: {said[-6000:]}")
    return covered(said)


def covered(said):
    """What it says of operations and requests, on one line."""
    lines = [line.strip() for line in said.splitlines()]
    told = [line for line in lines if re.search(r"(Selected|Tested|Errored|Skipped|Test cases|generated)", line)]
    return "; ".join(told[-6:]) or json.dumps(lines[-5:])
