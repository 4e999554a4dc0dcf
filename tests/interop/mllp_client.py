#!/usr/bin/env python3
"""Sends HL7 messages with the PyPI package `hl7` and checks every acknowledgement.

An MLLP client that none of us wrote: MSA-1 must be AA and MSA-2 the message's MSH-10. Prints one
summary line; the exit code is 0 only when every message was accepted. What arrived is for the
receiver to tell (see run.py).
"""

import argparse
import asyncio
import sys
import time

import hl7
from hl7.client import MLLPClient
from hl7.mllp import open_hl7_connection

RESPONSE_TIMEOUT_SECONDS = 30
EVENTS = ["ADT^A01^ADT_A01", "ADT^A08^ADT_A01", "ORM^O01^ORM_O01", "ORU^R01^ORU_R01", "SIU^S12^SIU_S12"]


def main():
    arguments = parse_arguments()
    started = time.monotonic()
    messages = [message(arguments.prefix, number) for number in range(arguments.messages)]
    if arguments.client == "blocking":
        problems = send_blocking(arguments, messages)
    else:
        problems = asyncio.run(send_asyncio(arguments, messages))
    seconds = time.monotonic() - started
    accepted = len(messages) - len(problems)
    print(
        f"{arguments.client} client, connection {arguments.connection}: "
        f"{accepted} of {len(messages)} accepted in {seconds:.1f} s"
    )
    for problem in problems[:5]:
        print(f"  {problem}", file=sys.stderr)
    return 0 if messages and not problems else 1


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--messages", type=int, default=1000)
    parser.add_argument("--connection", choices=["one", "each"], default="one")
    parser.add_argument("--client", choices=["blocking", "asyncio"], default="blocking")
    parser.add_argument("--prefix", default="PY", help="of every control id, to keep runs apart")
    return parser.parse_args()


def message(prefix, number):
    """One message about nobody, with a control id of its own."""
    event = EVENTS[number % len(EVENTS)]
    segments = [
        f"MSH|^~\\&|PYHL7|LAKESIDE|MIRTH|STMARY|20260101120000||{event}|{prefix}{number:08}|P|2.5.1|||AL|NE||UNICODE UTF-8",
        f"PID|1||{1_000_000 + number}^^^LAKESIDE^MR||Prüfling^Ünal||19700101|O",
        "PV1|1|I|2 WEST^12^1^LAKESIDE",
    ]
    return hl7.parse("\r".join(segments) + "\r")


def send_blocking(arguments, messages):
    problems = []
    client = None
    for sent in messages:
        try:
            client = client or connect(arguments)
            problems += judge(sent, receive(client, client.send_message(sent)))
            if arguments.connection == "each":
                client.close()
                client = None
        except OSError as error:
            problems.append(f"{control_id(sent)}: {error}")
            client = None
    if client:
        client.close()
    return problems


def connect(arguments):
    client = MLLPClient(arguments.host, arguments.port)
    client.socket.settimeout(RESPONSE_TIMEOUT_SECONDS)
    return client


def receive(client, answer):
    """MLLPClient reads once; an answer may come in pieces."""
    while not answer.endswith(b"\x1c\r"):
        more = client.socket.recv(4096)
        if not more:
            raise ConnectionError("closed without a whole acknowledgement")
        answer += more
    return hl7.parse(answer.strip(b"\x0b\x1c\r").decode())


async def send_asyncio(arguments, messages):
    problems = []
    writer = None
    for sent in messages:
        try:
            if writer is None:
                opening = open_hl7_connection(arguments.host, arguments.port, encoding="utf-8")
                reader, writer = await asyncio.wait_for(opening, RESPONSE_TIMEOUT_SECONDS)
            writer.writemessage(sent)
            await writer.drain()
            answer = await asyncio.wait_for(reader.readmessage(), RESPONSE_TIMEOUT_SECONDS)
            problems += judge(sent, answer)
            if arguments.connection == "each":
                writer.close()
                await writer.wait_closed()
                writer = None
        except (OSError, EOFError, asyncio.TimeoutError) as error:
            problems.append(f"{control_id(sent)}: {error!r}")
            writer = None
    if writer:
        writer.close()
        await writer.wait_closed()
    return problems


def judge(sent, answer):
    """What is wrong with an acknowledgement (HL7 v2.5.1 §2.9.2), as a list."""
    code, answered = str(answer.segment("MSA")[1]), str(answer.segment("MSA")[2])
    if code != "AA":
        return [f"{control_id(sent)}: answered {code}"]
    if answered != control_id(sent):
        return [f"{control_id(sent)}: the answer is for {answered}"]
    return []


def control_id(sent):
    return str(sent.segment("MSH")[10])


if __name__ == "__main__":
    sys.exit(main())
