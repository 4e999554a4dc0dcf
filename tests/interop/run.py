#!/usr/bin/env python3
"""Runs software that none of us wrote through real agents: an MLLP client, and DICOM with DCMTK and Orthanc.

Prints a line for each case and `interop: N passed, N failed`, and the time. With ADIT_TEST_LONG set, DICOM runs
every kind of transfer over every path to every receiver.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import dicom
import dicom_aborts
import dicom_objects
import mllp
from processes import Failure, Processes

PATHS = ["direct", "relay", "tcp", "switched"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", required=True, help="the `tunnel` bench, which can be a stand-in Mirth")
    parser.add_argument("--adit", required=True, help="the adit binary")
    parser.add_argument("--cache", type=pathlib.Path, required=True, help="a folder for the DICOM objects")
    parser.add_argument("--messages", type=int, default=1000)
    parser.add_argument("--paths", nargs="*", choices=PATHS, default=PATHS, help="of DICOM transfers")
    parser.add_argument("--only", default="", help="run what has this in its name")
    arguments = parser.parse_args()
    arguments.long = "ADIT_TEST_LONG" in os.environ
    # Else DCMTK waits some 40 ms after each object for Nagle's algorithm, over plain TCP too.
    os.environ["TCP_NODELAY"] = "1"

    results, started = [], time.monotonic()
    objects = dicom_objects.prepare(arguments.cache)
    beds = [*mllp.beds(arguments), *dicom.beds(arguments, objects), *dicom_aborts.beds(arguments, objects)]
    with tempfile.TemporaryDirectory() as folder:
        for number, bed in enumerate(beds):
            cases = [(name, case) for name, case in bed.cases if arguments.only in f"{bed.name}, {name}"]
            if cases:
                with Processes(pathlib.Path(folder) / str(number)) as processes:
                    results += run_bed(bed, cases, processes)
    failed = results.count(False)
    print(f"interop: {len(results) - failed} passed, {failed} failed in {time.monotonic() - started:.0f} s")
    return 1 if failed or not results else 0


def run_bed(bed, cases, processes):
    """Whether each case passed."""
    not_open = attempt(lambda: bed.open(processes))[0]
    results = []
    for name, case in cases:
        problem, note = (not_open, None) if not_open else attempt(case)
        said = problem or note
        print(f"{'FAILED' if problem else 'ok':>6}  {bed.name}, {name}{': ' + said if said else ''}", flush=True)
        results.append(problem is None)
    return results


def attempt(case):
    """What went wrong or None, and what there is to say."""
    try:
        return None, case()
    except (Failure, OSError, ValueError, subprocess.SubprocessError) as problem:
        return str(problem) or repr(problem), None


if __name__ == "__main__":
    sys.exit(main())
