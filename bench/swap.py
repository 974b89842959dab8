#!/usr/bin/env python3
"""Measures what a swap costs the requests beside it, how fast it takes effect, and what it leaves
in memory.

    make bench-swap                    build everything, measure, print
    make bench-swap BENCH=--write      the same, and put the result into bench/README.md

The load is half of what the host can do, at a fixed rate, so that a pause shows as latency and not
as fewer requests. Steady and swapping stretches alternate within one run.
"""

import re
import statistics
import threading

import common
from clients import MILLISECONDS, sound, timetable, wrk
from common import GUESTS, table
from servers import Host, guest

TOOK = re.compile(r"swap: swapped from generation \d+ to \d+ in ([\d.]+)(ms|µs|s) ")


def swaps_took(host):
    """Milliseconds from the turn of each swap to the pointer store, by the host's log."""
    return [float(number) * MILLISECONDS[unit.replace("µ", "u")] for number, unit in TOOK.findall(host.said())]


def p99(host, rate, args):
    """Of a stretch at a fixed rate, in milliseconds."""
    result = timetable(args, host, rate, args.seconds)
    sound([result], "beside a swap")
    return result["p99"]


def half_of_its_rate(host, args):
    wrk(host.url, args.warm)
    return wrk(host.url, args.seconds)["rate"] / 2


class Swapping:
    """Swaps in a thread while the `with` block lasts."""

    def __init__(self, host, apps, pause):
        self.host, self.apps, self.pause = host, apps, pause
        self.over, self.count = threading.Event(), 0
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.over.is_set():
            self.host.ctl("swap", self.apps[self.count % len(self.apps)])
            self.count += 1
            self.over.wait(self.pause)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def versions(kind):
    # Three, because the code of the version before is kept: each comes out of the cache.
    return [guest(f"{name}_p{kind[-1]}") for name in ("version_a", "version_b", "hello")]


def beside_traffic(kind, args):
    """p99 of stretches without and with swaps of compiled components, and how fast those were."""
    apps = versions(kind)
    with Host(args, apps[-1]) as host:
        for app in apps:
            host.ctl("swap", app)
        rate = half_of_its_rate(host, args)
        before = len(swaps_took(host))
        steady, swapping, count = [], [], 0
        for _ in range(args.rounds):
            steady.append(p99(host, rate, args))
            with Swapping(host, apps, args.pause) as swaps:
                swapping.append(p99(host, rate, args))
            count += swaps.count
        took = swaps_took(host)[before:]
    return row(f"out of the cache, {kind}", rate, steady, swapping, count), took


def beside_a_compile(args):
    """p99 while a component of 11 MB is compiled beside the traffic."""
    apps = [guest("hello_js"), guest("hello_js_b")]
    quick = guest("version_a_p2")
    with Host(args, quick, "--no-cache") as host:
        rate = half_of_its_rate(host, args)
        steady, compiling = [], []
        for number in range(args.rounds):
            steady.append(p99(host, rate, args))
            # It takes longer than the stretch, so that every request of it stands beside it.
            swap = threading.Thread(target=host.ctl, args=("swap", apps[number % 2]))
            swap.start()
            compiling.append(p99(host, rate, args))
            if not swap.is_alive():
                common.say("the compile was over before the stretch was; take fewer seconds")
            swap.join()
            host.ctl("swap", quick)
        return row("compiling 11 MB, 0.2", rate, steady, compiling, args.rounds)


def row(what, rate, steady, swapping, count):
    calm, busy = statistics.median(steady), statistics.median(swapping)
    return [what, f"{rate:,.0f}", str(count), f"{calm:.2f}", f"{busy:.2f}", f"{busy / calm:.2f}"]


def unloaded(kind, args):
    """Milliseconds of swaps to components out of the cache, with nothing beside them."""
    apps = versions(kind)
    with Host(args, apps[-1]) as host:
        for number in range(36):
            host.ctl("swap", apps[number % 3])
        # The first of each compiles.
        return swaps_took(host)[3:]


def memory(count, args):
    """Resident MiB after each load of a component of 11 MB. The code of one version before is kept,
    so a small one is swapped in between: else the large ones would not be loaded again."""
    large = [guest("hello_js_b"), guest("hello_js")]
    small = guest("hello_p2")
    with Host(args, large[1]) as host:
        seen = []
        for number in range(count):
            host.ctl("swap", small)
            host.ctl("swap", large[number % 2])
            host.answer()
            seen.append(host.resident() / 2**20)
        # The first load of each compiles.
        return seen, swaps_took(host)[1::2][2:]


def main():
    parser = common.arguments(__doc__, 8)
    parser.add_argument("--pause", type=float, default=0.25, help="seconds between swaps (0.25)")
    parser.add_argument("--swaps", type=int, default=200, help="for the look at memory (200)")
    args = common.parse(parser)
    common.need("wrk", "wrk")
    load = common.quiet(args)
    rows, lines = [], []
    for kind in ("0.2", "0.3"):
        cells, took = beside_traffic(kind, args)
        rows.append(cells)
        calm = unloaded(kind, args)
        lines.append(
            f"- {kind}: a swap to a component out of the cache, under that load, took"
            f" {statistics.median(took):.1f} ms (median of {len(took)}; slowest {max(took):.1f} ms); without load"
            f" {statistics.median(calm):.1f} ms (slowest {max(calm):.1f} ms)."
        )
        common.say(cells, lines[-1])
    if (GUESTS / "hello_js_b.wasm").exists():
        rows.append(beside_a_compile(args))
        common.say(rows[-1])
        seen, took = memory(args.swaps, args)
        early, late = statistics.median(seen[10:30]), statistics.median(seen[-20:])
        lines.append(
            f"- {args.swaps} swaps to one of two components of 11 MB: {early:.0f} MiB resident after 10 to 30,"
            f" {late:.0f} MiB after {args.swaps} ({late / early - 1:+.1%}); a swap took"
            f" {statistics.median(took):.0f} ms out of the cache (median)."
        )
    else:
        lines.append("- No JavaScript components here (`make guests-js`), so no figures of 11 MB.")
    head = ["what", "requests/s", "swaps", "steady p99 ms", "p99 beside swaps ms", "ratio"]
    text = "\n\n".join([common.machine(args, load), table(head, rows), "\n".join(lines)])
    print(f"\n{text}")
    if args.write:
        common.write(text, "swap.py")


if __name__ == "__main__":
    common.enter(main)
