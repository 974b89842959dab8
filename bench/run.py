#!/usr/bin/env python3
"""Measures the host against a native server and `wasmtime serve`, in turn, in one run.

    make bench                    build everything, measure, print
    make bench BENCH=--write      the same, and put the figures into bench/README.md and bench/results

It waits for a quiet machine, ten minutes at most. `BENCH=--busy` measures at once, and writes nothing.
"""

import argparse
import statistics

import aims
import common
import plugins
import servers
import start
import tls
from clients import observed, timetable, wrk
from common import Failed, in_turn, middle, table

WORKERS = (1, 2, 4, 8)
# Connections of the second look at the large guests.
FEW = 16


def full_and_half(server, args):
    """As fast as it answers 64 connections, then at half of that rate."""
    with server.start() as running:
        wrk(running.url, args.warm)
        full = observed(running, lambda: wrk(running.url, args.seconds))
        full["memory"] = running.peak_memory()
        half = timetable(args, running, full["rate"] / 2, args.seconds)
    full["half"] = half
    return full


def full_and_few(server, args):
    """As fast as it answers 64 connections, then with 16."""
    with server.start() as running:
        wrk(running.url, args.warm)
        full = observed(running, lambda: wrk(running.url, args.seconds))
        full["memory"] = running.peak_memory()
        full["few"] = wrk(running.url, args.seconds, FEW)
    return full


def row(name, each, native):
    """A server's line: medians of the rounds, and what must be 0 summed up."""
    rates = [result["rate"] for result in each]
    return [
        name,
        f"{middle(each, 'rate'):,.0f} ({min(rates):,.0f}–{max(rates):,.0f})",
        f"{middle(each, 'rate') / middle(native, 'rate'):.2f}",
        f"{middle(each, 'cpu'):,.1f}",
        f"{middle(each, 'cpu') / middle(native, 'cpu'):.2f}",
        f"{middle(each, 'p50'):.2f}",
        f"{middle(each, 'p99'):.2f}",
        f"{max(result['memory'] for result in each) / 2**20:.0f}",
        f"{middle(each, 'switches'):.2f}",
        sum(result["other"] for result in each),
        sum(result["broken"] for result in each),
    ]


HEAD = [
    "server",
    "requests/s (lowest–highest)",
    "of native",
    "CPU µs/request",
    "× native",
    "p50 ms",
    "p99 ms",
    "peak MiB",
    "switches/request",
    "not 2xx",
    "broken",
]


def small(args, raw):
    calls = {one.name: lambda one=one: full_and_half(one, args) for one in servers.small(args)}
    results = in_turn(calls, args, raw, "small")
    native = results["native hyper"]
    half = {name: [result["half"] for result in each] for name, each in results.items()}
    base = middle(half["native hyper"], "p99")
    text = table(HEAD, [row(name, each, native) for name, each in results.items()])
    text += "\n\n" + table(
        ["at half of its own rate", "requests/s", "p50 ms", "p99 ms", "× native", "slowest ms", "not 2xx", "broken"],
        [
            [
                name,
                f"{middle(each, 'rate'):,.0f}",
                f"{middle(each, 'p50'):.2f}",
                f"{middle(each, 'p99'):.2f}",
                f"{middle(each, 'p99') / base:.2f}",
                f"{max(result['slowest'] for result in each):.1f}",
                sum(result["other"] for result in each),
                sum(result["broken"] for result in each),
            ]
            for name, each in half.items()
        ],
    )
    measured = {}
    for kind in ("0.2", "0.3"):
        for way in ("fresh", "reuse"):
            each = results[f"host {kind}, {way}"]
            measured[f"{kind}, {way}: CPU time of a request, × native"] = ratio(each, native, "cpu")
            if kind == "0.2":
                measured[f"{kind}, {way}: requests/s, of native"] = ratio(each, native, "rate")
        measured[f"{kind}, fresh: p99 with 64 connections, ms"] = middle(results[f"host {kind}, fresh"], "p99")
        measured[f"{kind}, fresh: p99 at half load, × native"] = middle(half[f"host {kind}, fresh"], "p99") / base
    if theirs := results.get("wasmtime serve 0.3, reuse"):
        ours = results["host 0.3, reuse"]
        measured["0.3, reuse: requests/s, × wasmtime serve"] = ratio(ours, theirs, "rate")
        measured["0.3, reuse: p99, × wasmtime serve"] = ratio(ours, theirs, "p99")
    return text, measured, failures(results)


def ratio(ours, theirs, what):
    return middle(ours, what) / middle(theirs, what)


def big(args, raw):
    calls = {one.name: lambda one=one: full_and_few(one, args) for one in servers.big(args)}
    results = in_turn(calls, args, raw, "big")
    rows, measured = [], {}
    for name, each in results.items():
        few = [result["few"] for result in each]
        tail = middle(few, "p99") / middle(few, "p50")
        rows.append(
            [
                name,
                f"{middle(each, 'rate'):,.0f}",
                f"{middle(each, 'cpu'):,.0f}",
                f"{middle(each, 'faults'):,.1f}",
                f"{middle(each, 'p50'):.2f}",
                f"{middle(each, 'p99'):.2f}",
                f"{middle(few, 'p50'):.2f}",
                f"{middle(few, 'p99'):.2f}",
                f"{tail:.1f}",
                f"{max(result['memory'] for result in each) / 2**20:.0f}",
                sum(result["other"] for result in each + few),
                sum(result["broken"] for result in each + few),
            ]
        )
        if name.startswith("host, "):
            language = name.removeprefix("host, ")
            measured[f"{language}: CPU time of a request, µs"] = middle(each, "cpu")
            measured[f"{language}: page faults of a request"] = middle(each, "faults")
            measured[f"{language}: p99 with {FEW} connections, × its median"] = tail
    head = ["large guest", "requests/s", "CPU µs/request", "faults/request", "p50 ms", "p99 ms"]
    head += [f"p50 ms, {FEW} conns", f"p99 ms, {FEW} conns", "of it", "peak MiB", "not 2xx", "broken"]
    return (table(head, rows) if rows else "No large guests here."), measured, failures(results)


def workers(args, raw):
    def measure(kind, threads):
        command = servers.serve(args, servers.hello(kind), "--control", "off", "--threads", str(threads))
        with servers.Running(command) as running:
            wrk(running.url, args.warm)
            return observed(running, lambda: wrk(running.url, args.seconds))

    calls = {
        f"{kind}, {threads} workers": lambda kind=kind, threads=threads: measure(kind, threads)
        for kind in ("0.2", "0.3")
        for threads in WORKERS
    }
    results = in_turn(calls, args, raw, "workers")
    rows, measured = [], {}
    for kind in ("0.2", "0.3"):
        cpu = [middle(results[f"{kind}, {threads} workers"], "cpu") for threads in WORKERS]
        rows.append([f"{kind}, fresh", *(f"{figure:.1f}" for figure in cpu), f"{cpu[-1] / cpu[0]:.2f}"])
        measured[f"{kind}: CPU time of a request with 8 workers, × 1 worker"] = cpu[-1] / cpu[0]
    head = ["CPU µs/request", "1 worker", *(f"{threads} workers" for threads in WORKERS[1:]), "8 of 1"]
    return table(head, rows), measured, failures(results)


def chains(args, raw):
    text, each = plugins.chains(args, raw)
    return text, {f"{kind}: CPU time of a plugin, µs": cpu for kind, cpu in each.items()}, []


def watched(args, raw):
    """The same servers with all on that is seen of the traffic but traces, and with all of it off."""
    calls = {}
    for server in servers.small(args):
        if server.name.startswith("host "):
            calls[f"{server.name}, off"] = lambda server=server: full_load(server, args)
            calls[f"{server.name}, on"] = lambda server=server: full_load(servers.Observed(server), args)
    # Rounds lie further apart than what is looked for.
    many = argparse.Namespace(**{**vars(args), "rounds": 3 * args.rounds})
    results = in_turn(calls, many, raw, "watched")
    rows, measured = [], {}
    for name in (name.removesuffix(", off") for name in results if name.endswith(", off")):
        off, on = results[f"{name}, off"], results[f"{name}, on"]
        # Round by round: the machine is another one in each.
        rate = statistics.median(two["rate"] / one["rate"] for one, two in zip(off, on))
        rows.append(
            [
                name,
                f"{middle(off, 'rate'):,.0f}",
                f"{middle(on, 'rate'):,.0f}",
                f"{rate:.3f}",
                f"{middle(off, 'cpu'):.1f}",
                f"{middle(on, 'cpu'):.1f}",
                f"{middle(off, 'p99'):.2f}",
                f"{middle(on, 'p99'):.2f}",
            ]
        )
        measured[f"{name.removeprefix('host ')}: requests/s observed, of unobserved"] = rate
    head = ["server", "requests/s, off", "on", "on of off", "CPU µs/request, off", "on", "p99 ms, off", "on"]
    return f"{many.rounds} rounds.\n\n{table(head, rows)}", measured, failures(results)


def full_load(server, args):
    with server.start() as running:
        wrk(running.url, args.warm)
        return observed(running, lambda: wrk(running.url, args.seconds))


def starts(args, raw):
    text, medians = start.measure(args, raw)
    names = {"host 0.2": "0.2", "host 0.3": "0.3", "host, JavaScript": "JavaScript"}
    measured = {
        f"{ours}: exec to first answer, ms": medians[name] for name, ours in names.items() if name in medians
    }
    return text, measured, []


def neighbours(args, raw):
    text, low = plugins.neighbours(args, raw)
    return text, {}, low


def failures(results):
    """What the servers of ours, and no other, did not answer or not well."""
    found = []
    for name, each in results.items():
        for result in each:
            for one in (result, result.get("half"), result.get("few")):
                if one and (one["other"] or one["broken"]):
                    found.append(f"{name}: {one['other']} answers not 2xx, {one['broken']} broken")
    return [line for line in found if not line.startswith("wasmtime serve")]


TITLES = {
    "small": "Small guests",
    "big": "Large guests",
    "workers": "Workers",
    "chains": "Plugins in a chain",
    "watched": "With an access log, metrics that are read every second, and an open dashboard",
    "tls": "Over TLS",
    "starts": "From exec to the first answer",
    "neighbours": "Beside a neighbour that misbehaves",
}
# The neighbours come last: they keep this process, and all that it starts, to two cores.
PARTS = {
    "small": small,
    "big": big,
    "workers": workers,
    "chains": chains,
    "watched": watched,
    "tls": tls.measure,
    "starts": starts,
    "neighbours": neighbours,
}


def main():
    args = common.parse(common.arguments(__doc__, 3, parts=PARTS))
    common.need("wrk", "wrk")
    versions = [servers.wasmtime_version()]
    load = common.quiet(args)
    raw = common.Raw("run", args, load)
    texts, measured, wrong = [common.machine(args, load, versions)], {}, []
    for name, part in PARTS.items():
        if args.only in (None, name):
            text, figures, failed = part(args, raw)
            print(f"\n{text}\n", flush=True)
            texts.append(f"### {TITLES[name]}\n\n{text}")
            measured.update(figures)
            wrong += failed
    judged = aims.verdict(measured)
    print(f"{texts[0]}\n\n{aims.show(one for one in judged if not args.only or one['measured'] is not None)}")
    if wrong:
        raise Failed("nothing of it can be written:\n  " + "\n  ".join(wrong))
    if args.write:
        raw.keep()
        aims.keep(judged)
        common.write("\n\n".join([texts[0], aims.markdown(judged), *texts[1:]]), "run.py")


if __name__ == "__main__":
    common.enter(main)
