#!/usr/bin/env python3
"""What a start of 50 ms costs each request: with a fresh instance for each, with a snapshot behind `on-start`, and with
reuse.

One client sends one request after the other on one connection. The three take turns in each round, so compare their
ratio.
"""

import http.client
import statistics
import time

import common
from servers import REUSE, Running, guest, serve

KINDS = {"0.2": "warm_p2", "0.3": "warm_p3"}


def measure(args, app, flags):
    with Running(serve(args, guest(app), *flags)) as host:
        conn = http.client.HTTPConnection(host.address, timeout=60)
        first = fetch(conn)
        until = time.monotonic() + args.warm
        while time.monotonic() < until:
            fetch(conn)
        cpu, requests, began = host.usage()[0], 0, time.monotonic()
        while (now := time.monotonic()) < began + args.seconds:
            answer, requests = fetch(conn), requests + 1
        if "--reuse" not in flags and answer != first:
            raise common.Failed(f"{app} {flags}: {answer} is not {first}")
        took = (now - began) / requests
        return {"ms": took * 1e3, "cpu ms": (host.usage()[0] - cpu) / requests * 1e3, "start s": host.start}


def fetch(conn):
    conn.request("GET", "/")
    return conn.getresponse().read()


def main():
    args = common.parse(common.arguments(__doc__, 5))
    load = common.quiet(args)
    raw = common.Raw("warm", args, load)
    cases = {
        (kind, how): flags
        for kind in KINDS
        for how, flags in {"fresh": [], "fresh, snapshot": ["--snapshot"], "reuse": REUSE[kind]}.items()
    }
    run = {
        f"{kind} {how}": lambda kind=kind, flags=flags: measure(args, KINDS[kind], flags)
        for (kind, how), flags in cases.items()
    }
    results = common.in_turn(run, args, raw, "warm")
    print(common.machine(args, load))
    print("\n| guest | ms a request | CPU ms a request | × fresh | from exec to ready, s |\n|---|---:|---:|---:|---:|")
    for kind in KINDS:
        fresh = statistics.median(result["cpu ms"] for result in results[f"{kind} fresh"])
        for how in ("fresh", "fresh, snapshot", "reuse"):
            rounds = results[f"{kind} {how}"]
            took, cpu, start = (
                statistics.median(result[key] for result in rounds) for key in ("ms", "cpu ms", "start s")
            )
            print(f"| {kind}, {how} | {took:.2f} | {cpu:.2f} | {cpu / fresh:.3f} | {start:.2f} |")


if __name__ == "__main__":
    common.enter(main)
