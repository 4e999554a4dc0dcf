#!/usr/bin/env python3
"""Stands in for a wide-area network: carries IP packets between network namespaces, late and with loss.

The kernels that adit is built on have no netem, and the lab's shim carries UDP alone; here TCP must suffer
the same. One process, so it costs a processor: what is measured through it compares only with what else
goes through it. It ends with its standard input.

    wire.py MILLISECONDS LOSS SEED PID:ADDRESS ...      half of the delay and loss each way to the first host
"""

import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
CLONE_NEWNET = 0x40000000
WAITING_MAX = 200_000


def main():
    one_way = float(sys.argv[1]) / 2_000
    loss = float(sys.argv[2])
    draw = random.Random(int(sys.argv[3])).random
    places, first = {}, None
    for host in sys.argv[4:]:
        pid, address = host.split(":")
        packed = bytes(int(part) for part in address.split("."))
        places[packed] = tun_in(pid)
        first = first or packed
    poll = select.epoll()
    from_of = {}
    for address, tun in places.items():
        os.set_blocking(tun, False)
        poll.register(tun, select.EPOLLIN)
        from_of[tun] = address
    poll.register(0, select.EPOLLIN | select.EPOLLHUP)
    print("ready", flush=True)
    waiting, number = [], 0
    while True:
        now = time.monotonic()
        timeout = max(0.0, waiting[0][0] - now) if waiting else -1
        # epoll waits whole milliseconds; the last part of one is spun away.
        for descriptor, _ in poll.poll(timeout if timeout < 0 else max(0.0, timeout - 0.001)):
            if descriptor == 0:
                return
            for _ in range(64):
                try:
                    packet = os.read(descriptor, 65_535)
                except BlockingIOError:
                    break
                to = places.get(packet[16:20])
                if to is None or len(waiting) >= WAITING_MAX:
                    continue
                # A packet by way of the first host passes two legs of half the length.
                part = 0.5 if first in (from_of[descriptor], packet[16:20]) else 1.0
                if draw() < loss * part:
                    continue
                number += 1
                heapq.heappush(waiting, (time.monotonic() + one_way * part, number, to, packet))
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, to, packet = heapq.heappop(waiting)
            try:
                os.write(to, packet)
            except (BlockingIOError, OSError):
                pass


def tun_in(pid):
    """A TUN device in the namespace of a process."""
    with open("/proc/self/ns/net") as own, open(f"/proc/{pid}/ns/net") as other:
        setns(other.fileno())
        tun = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22s", b"wan0", IFF_TUN | IFF_NO_PI, b""))
        setns(own.fileno())
    return tun


def setns(descriptor):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "entering a network namespace needs root")


if __name__ == "__main__":
    main()
