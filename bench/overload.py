#!/usr/bin/env python3
"""What becomes of a host that is asked for twice of what it can do: goodput, refusals, memory, recovery.

Guests compute for some milliseconds each. First wrk asks as fast as it is answered: that is the capacity. Then
bench-load asks at twice that rate, on as many connections as would ask within some seconds, whatever comes back. Then
one request after the other, until they take again what they took before. In the end wrk again: the capacity that
goodput is held against is the mean of both, since a machine is not as fast at one minute as at the next; and of what
clients leave of the cores, since those who are refused take more of them than those who wait.
"""

import http.client
import os
import resource
import statistics
import threading
import time

import common
from clients import sound, timetable, wrk
from common import Failed, say
from servers import Running, guest, serve

# How often the guest of a case computes in a circle: a million take about a millisecond.
CASES = [("0.2", "busy_p2", 1), ("0.2", "busy_p2", 5), ("0.3", "busy_p3", 5), ("0.3", "busy_p3", 20)]

# Of wrk: more than the workers have, and fewer than would have to wait for long.
CLIENTS = 16

# Of the capacity.
OVERLOAD = 2.0
GOODPUT = 0.9
# Milliseconds until a refusal is there, for 99 of 100.
REFUSED = 50.0
# Seconds until a request takes again what it took before, or twice that.
RECOVERED = 1.0
# What the memory of the second half of the load may be above that of the first: as the allocator rounds it.
FLAT = 1.1

# Connections for each request in a second, so that none waits in the client.
PATIENCE = 3.0
MOST = 9000


class Memory(threading.Thread):
    """Looks at the memory of a host until it is told to end."""

    def __init__(self, host):
        super().__init__()
        self.host, self.ended, self.seen = host, threading.Event(), []

    def run(self):
        while not self.ended.wait(0.2):
            self.seen.append(self.host.resident())

    def growth(self):
        """The peak of the second half, of that of the first."""
        self.ended.set()
        self.join()
        half = len(self.seen) // 2
        if half == 0:
            raise Failed("too short to see memory")
        return max(self.seen[half:]) / max(self.seen[:half]), max(self.seen)


def once(host, path):
    """The status of one request on a fresh connection, or none, and its milliseconds."""
    began, status = time.monotonic(), None
    conn = http.client.HTTPConnection(host.address, timeout=10)
    try:
        conn.request("GET", path)
        status = conn.getresponse().status
    except OSError as why:
        say(f"no answer: {why}")
    conn.close()
    return status, (time.monotonic() - began) * 1000


def recovery(host, path, usual):
    """Seconds until three requests in a row take no more than twice of what is usual."""
    began, well = time.monotonic(), 0
    while (since := time.monotonic() - began) < 30:
        status, took = once(host, path)
        well = well + 1 if status == 200 and took <= 2 * usual + 5 else 0
        if well == 1:
            first = since
        if well == 3:
            return first
    raise Failed("not recovered after 30 s")


class Clients:
    """What the processes of clients take of the cores from now on. They have ended by then, and the host has not."""

    def __init__(self, seconds):
        self.seconds, self.before = seconds, self.now()

    @staticmethod
    def now():
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    def share(self):
        return (self.now() - self.before) / self.seconds / os.cpu_count()


def capacity(args, host, path):
    """Requests a second that clients get answered who wait for each other, and the share of the cores that they take.
    None is refused."""
    seconds = max(3, args.seconds // 6)
    clients = Clients(seconds)
    said = wrk(host.url + path, seconds, connections=CLIENTS)
    sound([said], path)
    return said["rate"], clients.share()


def measure(args, raw, kind, app, millions):
    path = f"/?rounds={millions}000000"
    # What it serves is printed, which is not to be measured.
    flags = ["--control", "off", "--max-connections", "10000"]
    with Running(serve(args, guest(app), *flags)) as host:
        if once(host, path)[0] != 200:
            raise Failed(f"{app} does not answer {path}")
        before, took = capacity(args, host, path)
        usual = statistics.median(once(host, path)[1] for _ in range(20))
        rate = OVERLOAD * before
        memory = Memory(host)
        memory.start()
        clients = Clients(args.seconds)
        load = timetable(args, host, rate, args.seconds, path, min(MOST, int(rate * PATIENCE) + 100))
        more = clients.share() - took
        recovered = recovery(host, path, usual)
        growth, peak = memory.growth()
        after, _ = capacity(args, host, path)
    of_all = (load["requests"] - load["other"]) / args.seconds / ((before + after) / 2)
    good = of_all / (1 - more)
    raw.add(part="overload", kind=kind, millions=millions, before=before, after=after, usual=usual, peak=peak,
            clients=more, recovered=recovered, growth=growth, **load)
    print(
        f"| {kind}, {usual:.1f} ms | {before:,.0f}, {after:,.0f} | {of_all:.2f} | {more:.2f} | {good:.2f}"
        f" | {load['p50']:.0f} | {load['other']:,} | {load['other_p99']:.0f} | {peak / 2**20:.0f} MiB, × {growth:.2f}"
        f" | {recovered:.2f} | {load['broken']} |",
        flush=True,
    )
    refused, broken = load["other_p99"], load["broken"]
    return {"goodput": good, "refused": refused, "memory": growth, "recovery": recovered, "broken": broken}


def missed(kind, millions, rounds):
    """The aims that a case has missed: by its middle round in what the speed of the machine has a part in, else by its
    worst."""
    middle = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    worst = {name: max(one[name] for one in rounds) for name in rounds[0]}
    held = {
        "goodput": (middle["goodput"], middle["goodput"] >= GOODPUT),
        "refused": (middle["refused"], middle["refused"] <= REFUSED),
        "memory": (worst["memory"], worst["memory"] <= FLAT),
        "recovery": (worst["recovery"], worst["recovery"] <= RECOVERED),
        "broken": (worst["broken"], worst["broken"] == 0),
    }
    return [f"{kind}, {millions} million: {name} {value:.2f}" for name, (value, holds) in held.items() if not holds]


def main():
    args = common.parse(common.arguments(__doc__, 60))
    load = common.quiet(args)
    common.raise_descriptors()
    raw = common.Raw("overload", args, load)
    say(f"aims: goodput {GOODPUT} of the capacity, refusals within {REFUSED:.0f} ms (p99), memory × {FLAT} at"
        f" most, recovery within {RECOVERED:.0f} s, nothing broken")
    print("| guest | capacity, 1/s | goodput, of it | clients, of the cores | goodput, of the rest | p50 of all, ms"
          " | refused | p99 of refusals, ms | memory | recovery, s | broken |\n"
          "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    misses = []
    for case in CASES:
        misses += missed(case[0], case[2], [measure(args, raw, *case) for _ in range(args.rounds)])
    if misses:
        raise Failed(f"missed: {'; '.join(misses)}")


if __name__ == "__main__":
    common.enter(main)
