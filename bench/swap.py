#!/usr/bin/env python3
"""Measures what a swap costs the requests beside it, how fast it takes effect, and what it leaves
in memory.

    make bench-swap                    build everything, measure, print
    make bench-swap BENCH=--write      the same, and put the result into bench/README.md

The load is half of what the host can do, at a fixed rate, so that a pause shows as latency and not
as fewer requests. Steady and swapping stretches alternate within one run.
"""

import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile
import threading
import time

import run
from run import Failed

BEGIN, END = "<!-- results: written by swap.py -->", "<!-- end of swap results -->"
CLIENTS = 32
HOST = run.ROOT / "target" / "release" / "host"
GUESTS = run.ROOT / "target" / "guests"
TOOK = re.compile(r"swap: swapped from generation \d+ to \d+ in ([\d.]+)(ms|µs|s) ")


class Host:
    """A host with a control socket of its own. Leaving the `with` block stops it."""

    def __init__(self, app, *flags):
        self.folder = tempfile.TemporaryDirectory()
        self.socket = pathlib.Path(self.folder.name) / "control.sock"
        self.log = open(pathlib.Path(self.folder.name) / "log", "w+b")
        command = [HOST, "serve", app, "--addr", "127.0.0.1:0", "--control", self.socket]
        if "--no-cache" not in flags:
            command += ["--cache-dir", pathlib.Path(self.folder.name) / "cache"]
        command += flags
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        ready = re.search(r"addr=(\S+)", self.process.stdout.readline())
        if not ready:
            raise Failed(f"the host does not start: {self.said()}")
        self.url = f"http://{ready.group(1)}/"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(run.STOP_PATIENCE)
        self.log.close()
        self.folder.cleanup()

    def ctl(self, *words):
        command = [HOST, "ctl", "--socket", self.socket, *words]
        said = subprocess.run(command, capture_output=True, text=True)
        if said.returncode != 0:
            raise Failed(f"host ctl {words}: {said.stderr}")

    def said(self):
        self.log.flush()
        return pathlib.Path(self.log.name).read_text(errors="replace")

    def swaps_took(self):
        """Milliseconds from the turn of each swap to the pointer store, by the host's log."""
        unit = {"µs": 0.001, "ms": 1.0, "s": 1000.0}
        return [float(number) * unit[name] for number, name in TOOK.findall(self.said())]

    def resident(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) / 1024


def latencies(host, rate, seconds):
    """Milliseconds of each request of a stretch at a fixed rate."""
    with tempfile.NamedTemporaryFile() as log:
        each = max(1, round(rate / CLIENTS))
        command = ["h2load", "--h1", f"-c{CLIENTS}", f"-D{seconds}", f"--rps={each}"]
        command += [f"--log-file={log.name}", host.url]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        lines = pathlib.Path(log.name).read_text().splitlines()
    if not re.search(r" 0 failed, 0 errored, 0 timeout", said):
        raise Failed(f"requests were lost:\n{said}")
    found = []
    for line in lines:
        _start, status, took = line.split("\t")
        if status != "200":
            raise Failed(f"an answer of {status}")
        found.append(int(took) / 1000)
    return found


def p99(found):
    return statistics.quantiles(found, n=100)[98]


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


def beside_traffic(kind, args):
    """p99 of stretches without and with swaps of compiled components, and how fast those were."""
    # Three, because the code of the version before is kept: each comes out of the cache.
    names = ("version_a", "version_b", "hello")
    apps = [GUESTS / f"{name}_p{kind[-1]}.wasm" for name in names]
    with Host(apps[-1]) as host:
        for app in apps:
            host.ctl("swap", app)
        run.wrk(host.url, args.warm)
        rate = run.wrk(host.url, args.seconds)["rate"] / 2
        before = len(host.swaps_took())
        steady, swapping, count = [], [], 0
        for _ in range(args.rounds):
            steady.append(p99(latencies(host, rate, args.seconds)))
            with Swapping(host, apps, args.pause) as swaps:
                swapping.append(p99(latencies(host, rate, args.seconds)))
            count += swaps.count
        took = host.swaps_took()[before:]
    return row(f"out of the cache, {kind}", rate, steady, swapping, count), took


def beside_a_compile(args):
    """p99 while a component of 11 MB is compiled beside the traffic."""
    apps = [GUESTS / "hello_js.wasm", GUESTS / "hello_js_b.wasm"]
    quick = GUESTS / "version_a_p2.wasm"
    with Host(quick, "--no-cache") as host:
        run.wrk(host.url, args.warm)
        rate = run.wrk(host.url, args.seconds)["rate"] / 2
        steady, compiling = [], []
        for number in range(args.rounds):
            steady.append(p99(latencies(host, rate, args.seconds)))
            # It takes longer than the stretch, so that every request of it stands beside it.
            swap = threading.Thread(target=host.ctl, args=("swap", apps[number % 2]))
            swap.start()
            compiling.append(p99(latencies(host, rate, args.seconds)))
            if not swap.is_alive():
                print("bench: the compile was over before the stretch was; take fewer seconds")
            swap.join()
            host.ctl("swap", quick)
        return row("compiling 11 MB, 0.2", rate, steady, compiling, args.rounds)


def row(what, rate, steady, swapping, count):
    calm, busy = statistics.median(steady), statistics.median(swapping)
    return [what, f"{rate:,.0f}", str(count), f"{calm:.2f}", f"{busy:.2f}", f"{busy / calm:.2f}"]


def unloaded(kind):
    """Milliseconds of swaps to components out of the cache, with nothing beside them."""
    names = ("version_a", "version_b", "hello")
    apps = [GUESTS / f"{name}_p{kind[-1]}.wasm" for name in names]
    with Host(apps[-1]) as host:
        for number in range(36):
            host.ctl("swap", apps[number % 3])
        # The first of each compiles.
        return host.swaps_took()[3:]


def memory(count):
    """Resident MiB after each load of a component of 11 MB. The code of one version before is kept,
    so a small one is swapped in between: else the large ones would not be loaded again."""
    large = [GUESTS / "hello_js_b.wasm", GUESTS / "hello_js.wasm"]
    small = GUESTS / "hello_p2.wasm"
    with Host(large[1]) as host:
        seen = []
        for number in range(count):
            host.ctl("swap", small)
            host.ctl("swap", large[number % 2])
            with run.urllib.request.urlopen(host.url, timeout=30) as answer:
                answer.read()
            seen.append(host.resident())
        # The first load of each compiles.
        return seen, host.swaps_took()[1::2][2:]


def main():
    parser = run.arguments(__doc__, 8)
    parser.add_argument("--pause", type=float, default=0.25, help="seconds between swaps (0.25)")
    parser.add_argument("--swaps", type=int, default=200, help="for the look at memory (200)")
    args = parser.parse_args()
    run.need_wrk()
    if not shutil.which("h2load"):
        raise Failed("h2load is missing; run: sudo apt-get install -y nghttp2-client")
    lines = [
        "| what | requests/s | swaps | steady p99 ms | p99 beside swaps ms | ratio |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    quick = []
    for kind in ("0.2", "0.3"):
        cells, took = beside_traffic(kind, args)
        lines.append("| " + " | ".join(cells) + " |")
        quick.append(
            f"- {kind}: a swap to a component out of the cache, under that load, took {statistics.median(took):.1f} ms"
            f" (median of {len(took)}; slowest {max(took):.1f} ms); without load"
            f" {statistics.median(calm := unloaded(kind)):.1f} ms (slowest {max(calm):.1f} ms)."
        )
        print(lines[-1], quick[-1], sep="\n", flush=True)
    if (GUESTS / "hello_js_b.wasm").exists():
        lines.append("| " + " | ".join(beside_a_compile(args)) + " |")
        print(lines[-1], flush=True)
        seen, took = memory(args.swaps)
        early, late = statistics.median(seen[10:30]), statistics.median(seen[-20:])
        quick.append(
            f"- {args.swaps} swaps to one of two components of 11 MB: {early:.0f} MiB resident after 10 to 30,"
            f" {late:.0f} MiB after {args.swaps} ({late / early - 1:+.1%}); a swap took"
            f" {statistics.median(took):.0f} ms out of the cache (median)."
        )
    else:
        quick.append("- No JavaScript components here (`make guests-js`), so no figures of 11 MB.")
    text = "\n".join([*lines, "", *quick])
    print(f"\n{text}")
    if args.write:
        run.write(text, BEGIN, END)


if __name__ == "__main__":
    run.enter(main)
