#!/usr/bin/env python3
"""Two organizations' people at a real gateway, over HTTPS: attacks, secrets, and the API against its description.

Prints a line for each case and `people: N passed, N failed`.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import attacks  # noqa: E402
import canaries  # noqa: E402
import described  # noqa: E402
from gateway import Gateway  # noqa: E402
from processes import Failure, Processes  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--adit", required=True, help="the adit binary")
    parser.add_argument("--examples", type=int, default=10, help="of schemathesis, for each operation")
    parser.add_argument("--seed", type=int, default=14)
    parser.add_argument("--postgres", help="the URL of an empty database")
    parser.add_argument("--only", default="", help="run the groups that have this in their name")
    parser.add_argument("--long", action="store_true", help="as many attempts as may be; also by ADIT_TEST_LONG")
    arguments = parser.parse_args()
    arguments.long |= "ADIT_TEST_LONG" in os.environ

    groups = [
        ("attacks", None, lambda gateway: attacks.cases(arguments, gateway)),
        ("canaries, SQLite", None, lambda it: canaries.cases(arguments, it, lambda: canaries.dump_sqlite(it))),
    ]
    if arguments.postgres:
        url = arguments.postgres
        groups.append(
            ("canaries, PostgreSQL", url, lambda it: canaries.cases(arguments, it, lambda: canaries.dump_postgres(url)))
        )
    results, started = [], time.monotonic()
    for name, database, group in groups:
        if arguments.only in name:
            with tempfile.TemporaryDirectory() as folder, Processes(pathlib.Path(folder) / "run") as processes:
                results += run_group(name, group, Gateway(arguments.adit, processes, database), processes)
    if arguments.only in "described":
        results += described.run_all(arguments)
    failed = results.count(False)
    print(f"people: {len(results) - failed} passed, {failed} failed in {time.monotonic() - started:.0f} s")
    return 1 if failed or not results else 0


def run_group(name, group, gateway, processes):
    """Whether each case passed."""
    results, cases = [], None
    try:
        cases = list(group(gateway))
    except (Failure, OSError, ValueError, KeyError) as problem:
        print(f"FAILED  {name}: {problem}{processes.last_words()}", flush=True)
        return [False]
    for case, check in cases:
        try:
            note, problem = check(), None
        except (Failure, OSError, ValueError, KeyError, TypeError, subprocess.SubprocessError) as error:
            note, problem = None, str(error) or repr(error)
        said = problem or note
        print(f"{'FAILED' if problem else 'ok':>6}  {name}, {case}{': ' + said if said else ''}", flush=True)
        results.append(problem is None)
    return results


if __name__ == "__main__":
    sys.exit(main())
