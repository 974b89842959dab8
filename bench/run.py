#!/usr/bin/env python3
"""Measures the host against a native server and `wasmtime serve`, in turn, in one run.

    make bench                    build everything, measure, print a table
    make bench BENCH=--write      the same, and put the table into bench/README.md

Each server is started, warmed up and driven by wrk; then the next; then all of them again. The
servers change with every measurement, so that a machine that gets slower does so for all of them.
"""

import argparse
import datetime
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
README = ROOT / "bench" / "README.md"
BEGIN, END = "<!-- results: written by run.py -->", "<!-- end of results -->"

THREADS, CONNECTIONS = 1, 64
EXPECTED = b"hello world\n"
START_PATIENCE = 30.0
STOP_PATIENCE = 15.0

# What `wasmtime serve` may need for a guest, tried in this order until it answers: Rust's std
# imports more than its default world has.
WASMTIME_FLAGS = [[], ["-Scli"], ["-Scli,p3"], ["-Scli,p3", "-Wcomponent-model-async"]]


class Failed(Exception):
    """A sentence for the person at the terminal."""


class Server:
    """One server under test: how to start it, and how its address is found in its output."""

    def __init__(self, name, kind, command, address):
        self.name, self.kind, self.command, self.address = name, kind, command, re.compile(address)
        self.results = []

    def start(self):
        return Running(self)


class Running:
    """A started server. Leaving the `with` block stops it."""

    def __init__(self, server):
        self.server = server
        self.log = tempfile.TemporaryFile(mode="w+b")
        self.process = subprocess.Popen(
            server.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT
        )

    def __enter__(self):
        try:
            self.url = self._ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def _ready(self):
        until = time.monotonic() + START_PATIENCE
        while time.monotonic() < until:
            if found := self.server.address.search(self.said()):
                url = f"http://{found.group(1)}/"
                with urllib.request.urlopen(url, timeout=5) as answer:
                    if answer.read() != EXPECTED:
                        raise Failed(f"{self.server.name}: another answer than {EXPECTED!r}")
                return url
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise Failed(f"{self.server.name} does not start:\n{self.said()}")

    def said(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def peak_memory(self):
        """The most memory that was resident at once, in bytes."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) * 1024

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def servers():
    """All servers that are there, in the order of the table."""
    built = ROOT / "target" / "release"
    guests = ROOT / "target" / "guests"
    ours = r"ready addr=(\S+)"
    found = [Server("native hyper", None, [built / "bench-native", "127.0.0.1:0"], ours)]
    for kind in ("0.2", "0.3"):
        guest = guests / f"hello_p{kind[-1]}.wasm"
        command = [built / "host", "serve", guest, "--addr", "127.0.0.1:0"]
        found.append(Server(f"host, {kind}", kind, command, ours))
    for server in found:
        for path in server.command:
            if isinstance(path, pathlib.Path) and not path.exists():
                raise Failed(f"{path} is missing; run `make bench`, which builds it")
    wasmtime = os.environ.get("WASMTIME") or shutil.which("wasmtime")
    if wasmtime is None:
        print("bench: no `wasmtime` on the PATH and no WASMTIME=PATH, so it is left out; to have it:")
        print("bench:   cargo install wasmtime-cli --version 48.0.8 --locked")
        return found, None
    for kind in ("0.2", "0.3"):
        found.append(wasmtime_serve(wasmtime, kind, guests / f"hello_p{kind[-1]}.wasm"))
    version = subprocess.run([wasmtime, "--version"], capture_output=True, text=True, check=True)
    return found, version.stdout.strip()


def wasmtime_serve(wasmtime, kind, guest):
    """`wasmtime serve` with as few flags as the guest needs."""
    why = None
    for flags in WASMTIME_FLAGS:
        name = " ".join(["wasmtime serve", *flags]) + f", {kind}"
        command = [wasmtime, "serve", *flags, "--addr", "127.0.0.1:0", guest]
        server = Server(name, kind, command, r"Serving HTTP on http://([^/\s]+)")
        try:
            with server.start():
                return server
        except (Failed, OSError) as failure:
            why = failure
    raise Failed(f"wasmtime serve does not serve {guest}: {why}")


def need_wrk():
    if shutil.which("wrk"):
        return
    if os.geteuid() != 0:
        raise Failed("wrk is missing; run: sudo apt-get update && sudo apt-get install -y wrk")
    print("bench: installing wrk")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "wrk"]):
        subprocess.run(["apt-get", *command], check=True, env=environment)


def wrk(url, seconds):
    """Drives a server and gives what wrk says of it."""
    command = ["wrk", f"-t{THREADS}", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    p50 = re.search(r"^\s+50%\s+(\S+)", said, re.M)
    p99 = re.search(r"^\s+99%\s+(\S+)", said, re.M)
    if not (rate and p50 and p99):
        raise Failed(f"wrk said what is not understood:\n{said}")
    other = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    return {
        "rate": float(rate.group(1)),
        "p50": milliseconds(p50.group(1)),
        "p99": milliseconds(p99.group(1)),
        "other": int(other.group(1)) if other else 0,
        "broken": sum(map(int, broken.groups())) if broken else 0,
    }


def milliseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}[unit]


def measure(found, rounds, seconds, warm):
    for number in range(1, rounds + 1):
        for server in found:
            with server.start() as running:
                wrk(running.url, warm)
                result = wrk(running.url, seconds)
                result["memory"] = running.peak_memory()
            server.results.append(result)
            print(
                f"bench: round {number} of {rounds}: {server.name}: {result['rate']:,.0f} requests/s,"
                f" p99 {result['p99']:.1f} ms",
                flush=True,
            )


def middle(server, what):
    return statistics.median(result[what] for result in server.results)


def table(found):
    head = "server | requests/s (lowest–highest) | of native | p50 ms | p99 ms | peak MiB | not 2xx | broken"
    lines = ["| " + head + " |", "|---" + "|---:" * 7 + "|"]
    native = middle(found[0], "rate")
    for server in found:
        rates = [result["rate"] for result in server.results]
        cells = [
            server.name,
            f"{middle(server, 'rate'):,.0f} ({min(rates):,.0f}–{max(rates):,.0f})",
            f"{middle(server, 'rate') / native:.2f}",
            f"{middle(server, 'p50'):.2f}",
            f"{middle(server, 'p99'):.2f}",
            f"{max(result['memory'] for result in server.results) / 2**20:.0f}",
            str(sum(result["other"] for result in server.results)),
            str(sum(result["broken"] for result in server.results)),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines + comparison(found))


def comparison(found):
    """The host beside `wasmtime serve`, for each kind of guest."""
    lines = []
    for ours in found:
        theirs = [s for s in found if s.name.startswith("wasmtime") and s.kind == ours.kind]
        if ours.name.startswith("host") and theirs:
            rate = middle(ours, "rate") / middle(theirs[0], "rate")
            p99 = middle(ours, "p99") / middle(theirs[0], "p99")
            lines.append(
                f"- {ours.kind}: the host has {rate:.2f} times the requests/s of `wasmtime serve`, and"
                f" {p99:.2f} times its p99."
            )
    return ["", *lines] if lines else []


def machine(args, version, load):
    model = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    host = subprocess.run(
        [ROOT / "target" / "release" / "host", "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()
    today = datetime.datetime.now(datetime.timezone.utc).date()
    return (
        f"{today}, {len(os.sched_getaffinity(0))} × {model.group(1).strip() if model else 'unknown CPU'},"
        f" Linux {os.uname().release}, load {load:.2f} before the run; `{host}`;"
        f" {f'`{version}`' if version else 'without wasmtime'};"
        f" `wrk -t{THREADS} -c{CONNECTIONS} -d{args.seconds}s --latency` after {args.warm} s of warm-up,"
        f" {args.rounds} rounds."
    )


def write(text, begin=BEGIN, end=END):
    readme = README.read_text()
    if readme.count(begin) != 1 or readme.count(end) != 1:
        raise Failed(f"{README} lacks its two markers")
    before, rest = readme.split(begin)
    after = rest.split(end)[1]
    README.write_text(f"{before}{begin}\n{text}\n{end}{after}")
    print(f"bench: written into {README}")


def arguments(doc, seconds):
    """The flags that every benchmark has."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (3)")
    parser.add_argument("--seconds", type=int, default=seconds, help=f"of one ({seconds})")
    parser.add_argument("--warm", type=int, default=2, help="seconds before the first (2)")
    parser.add_argument("--write", action="store_true", help="put it into bench/README.md")
    return parser


def main():
    args = arguments(__doc__, 10).parse_args()
    need_wrk()
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"bench: the machine is busy (load {load:.2f}); figures will be low and unsteady")
    found, version = servers()
    measure(found, args.rounds, args.seconds, args.warm)
    text = f"{machine(args, version, load)}\n\n{table(found)}"
    print(f"\n{text}")
    if args.write:
        write(text)


def enter(main):
    """Runs a benchmark; what goes wrong is a sentence."""
    try:
        main()
    except Failed as failure:
        sys.exit(f"bench: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    enter(main)
