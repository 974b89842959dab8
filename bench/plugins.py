#!/usr/bin/env python3
"""Measures what a manifest costs: plugins in a chain, many routes, many idle components; and what a
neighbour that misbehaves takes from a component that does not.

    make bench-plugins                    build everything, measure, print
    make bench-plugins BENCH=--write      the same, and put the result into bench/README.md

Whatever is compared is measured in turn, in one run. It fails if a neighbour takes too much.
"""

import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import tempfile
import time
import urllib.request

import run
from run import Failed

BEGIN, END = "<!-- results: written by plugins.py -->", "<!-- end of plugins results -->"
HOST = run.ROOT / "target" / "release" / "host"
GUESTS = run.ROOT / "target" / "guests"
CACHE = run.ROOT / "target" / "bench-cache"
ROUTES, COMPONENTS, PLUGINS = 10_000, 500, 3

# What a component keeps beside a bad one, of what it has alone on half of the cores; less fails.
LEAST = 0.80
# Lines of wrk that say how many answers there were, and how many of another kind.
NOISE = re.compile(r"requests in|Non-2xx|Socket errors")


class Host:
    """A host with a manifest. Leaving the `with` block stops it."""

    def __init__(self, manifest, *flags, before=()):
        self.folder = tempfile.TemporaryDirectory()
        path = pathlib.Path(self.folder.name) / "host.toml"
        path.write_text(manifest)
        self.log = open(pathlib.Path(self.folder.name) / "log", "w+b")
        command = [*before, HOST, "serve", path, "--addr", "127.0.0.1:0", "--cache-dir", CACHE]
        self.control = pathlib.Path(self.folder.name) / "control.sock"
        command += ["--control", self.control, *flags]
        began = time.monotonic()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        ready = re.search(r"addr=(\S+)", self.process.stdout.readline())
        self.start = time.monotonic() - began
        if not ready:
            self.log.seek(0)
            raise Failed(f"the host does not start: {self.log.read().decode(errors='replace')}")
        self.url = f"http://{ready.group(1)}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(run.STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        self.folder.cleanup()

    def status(self):
        """What `host ctl status` says."""
        command = [HOST, "ctl", "--socket", self.control, "--json", "status"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=run.STOP_PATIENCE)
        if said.returncode != 0:
            raise Failed(f"host ctl status: {said.stderr}")
        return json.loads(said.stdout)

    def resident(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) * 1024


def component(name, guest, more=""):
    source = guest if isinstance(guest, pathlib.Path) else GUESTS / f"{guest}.wasm"
    return f"[component.{name}]\nsource = {json.dumps(str(source))}\n{more}\n"


def route(path, to, more=""):
    return f"[[route]]\npath = {json.dumps(path)}\ncomponent = {json.dumps(to)}\n{more}\n"


def drive(url, args):
    run.wrk(url, args.warm)
    result = run.wrk(url, args.seconds)
    if result["other"] or result["broken"]:
        raise Failed(f"{url}: {result['other']} answers not 2xx, {result['broken']} broken")
    return result


def in_turn(cases, args):
    """Measures each case in each round. Gives the median rate and p99 of each."""
    results = {name: [] for name in cases}
    for number in range(1, args.rounds + 1):
        for name, measure in cases.items():
            result = measure()
            results[name].append(result)
            print(f"bench: round {number}: {name}: {result['rate']:,.0f} requests/s", flush=True)
    middle = lambda name, what: statistics.median(result[what] for result in results[name])
    return {name: (middle(name, "rate"), middle(name, "p99")) for name in cases}


def chains(args):
    """A hello without plugins, and behind three that pass on, for both kinds."""
    names = [f"pass{number}" for number in range(PLUGINS)]
    text = ""
    cases = {}
    for kind in ("2", "3"):
        text += component(f"hello{kind}", f"hello_p{kind}") + route(f"/{kind}/0", f"hello{kind}")
        plugins = [f"{name}-{kind}" for name in names]
        text += "".join(component(plugin, f"pass_p{kind}") for plugin in plugins)
        text += route(f"/{kind}/{PLUGINS}", f"hello{kind}", f"chain = {json.dumps(plugins)}")
    with Host(text) as host:
        for kind in ("2", "3"):
            for plugins in (0, PLUGINS):
                url = f"{host.url}/{kind}/{plugins}"
                cases[f"0.{kind}, {plugins} plugins"] = lambda url=url: drive(url, args)
        figures = in_turn(cases, args)
    lines = ["| chain | requests/s | p99 ms | of none | for each plugin |", "|---|---:|---:|---:|---:|"]
    for name, (rate, p99) in figures.items():
        none = figures[re.sub(r"\d+ plugins", "0 plugins", name)][0]
        # Time of the whole machine for one request, so that the cores count.
        each = (1 / rate - 1 / none) / PLUGINS * 1e6
        cells = [name, f"{rate:,.0f}", f"{p99:.1f}", f"{rate / none:.2f}"]
        lines.append("| " + " | ".join([*cells, f"{each:.0f} µs" if rate != none else "-"]) + " |")
    return "\n".join(lines)


def routes(args):
    one = component("hello", "hello_p2") + route("/", "hello")
    more = "".join(route(f"/shop/{number}/items", "hello") for number in range(ROUTES - 1))
    with Host(one) as few, Host(one + more) as many:
        path = f"/shop/{ROUTES // 2}/items/1"
        cases = {
            "1 route": lambda: drive(few.url + path, args),
            f"{ROUTES:,} routes": lambda: drive(many.url + path, args),
        }
        figures = in_turn(cases, args)
        start = many.start
    (one_rate, _), (many_rate, _) = figures.values()
    return (
        f"- {ROUTES:,} routes: {many_rate:,.0f} requests/s, {many_rate / one_rate:.2f} of what one"
        f" route has ({one_rate:,.0f}); the host was ready after {start:.2f} s."
    )


def distinct(folder, count):
    """Components that do the same and are not the same: a custom section more."""
    original = (GUESTS / "hello_p2.wasm").read_bytes()
    for number in range(count):
        name = f"n{number:05}".encode()
        section = bytes([len(name)]) + name
        path = folder / f"{number}.wasm"
        path.write_bytes(original + b"\x00" + bytes([len(section)]) + section)
        yield path


def idle():
    """Memory and time to the ready line with one component and with many."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        files = list(distinct(pathlib.Path(folder), COMPONENTS))
        cases = {
            "1 component": [files[0]],
            f"{COMPONENTS} components of one file": [files[0]] * COMPONENTS,
            f"{COMPONENTS} components of as many files, out of the cache": files,
        }
        base = None
        for name, sources in cases.items():
            text = "".join(
                component(f"c{number}", source) + route(f"/{number}", f"c{number}")
                for number, source in enumerate(sources)
            )
            with Host(text):
                pass  # fills the cache
            with Host(text) as host:
                start, resident = host.start, host.resident()
            base = base or resident
            each = (resident - base) / max(len(sources) - 1, 1) / 1024
            more = f", {each:.0f} KiB for each one more" if len(sources) > 1 else ""
            lines.append(
                f"- {name}: ready after {start:.2f} s, {resident / 2**20:.0f} MiB resident{more}."
            )
            print(f"bench: {lines[-1]}", flush=True)
    return "\n".join(lines)


class Noise:
    """64 clients that keep a bad component busy. Leaving the `with` block ends them and says what they
    got."""

    def __init__(self, host, path, says, seconds):
        self.host, self.path = host, path
        # One by itself first: were it answered otherwise, the rest would be no noise.
        try:
            with urllib.request.urlopen(f"{host.url}{path}", timeout=run.START_PATIENCE) as answer:
                said = answer.read()
        except OSError as why:
            said = why
        if said != says:
            raise Failed(f"{path} answers {said!r} instead of {says!r}: that is no noise")
        self.command = ["wrk", "-t1", f"-c{run.CONNECTIONS}", "--timeout", "60s", f"-d{seconds}s"]

    def __enter__(self):
        self.process = subprocess.Popen(
            [*self.command, f"{self.host.url}{self.path}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            until = time.monotonic() + run.START_PATIENCE
            while self.bad()["instances"]["in_use"] < len(os.sched_getaffinity(0)):
                if time.monotonic() > until:
                    raise Failed(f"{self.path} keeps no core busy:\n{self.end()}")
                time.sleep(0.05)
        except BaseException:
            self.process.kill()
            raise
        return self

    def __exit__(self, failure, *_):
        try:
            ended, bad = self.process.poll(), self.bad()
            in_use, memory = bad["instances"]["in_use"], bad["memory"] // 2**20
        finally:
            said = self.end()
        if failure is None and (ended is not None or in_use == 0):
            raise Failed(f"{self.path} has ended before the measurement:\n{said}")
        told = "; ".join(line.strip() for line in said.splitlines() if NOISE.search(line))
        print(f"bench: noise {self.path}: {in_use} instances, {memory} MiB; {told}", flush=True)

    def end(self):
        """What wrk has to say in the end."""
        self.process.send_signal(signal.SIGINT)
        return self.process.communicate(timeout=run.STOP_PATIENCE)[0]

    def bad(self):
        """What the status says of the bad component."""
        return next(one for one in self.host.status()["components"] if one["name"] == "bad")


def neighbours(args):
    """A good component alone on one core, and on two beside a bad one."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    # Inherited by all that is started from here on. More cores would only make it easier.
    os.sched_setaffinity(0, cores)
    half = cores[: max(1, len(cores) // 2)]
    good = component("hello", "hello_p2") + route("/", "hello")
    limits = '[component.bad.limits]\ncpu-time = "10s"\nmemory = "256MiB"\n'
    bad = component("bad", "hostile_p2", limits) + route("/bad", "bad", "strip-prefix = true")

    def alone():
        pin = ["taskset", "-c", ",".join(map(str, half))]
        with Host(good, "--threads", str(len(half)), before=pin) as host:
            return drive(f"{host.url}/", args)

    def beside(path, says):
        with Host(good + bad) as host:
            # Longer than the measurement, which ends it.
            with Noise(host, f"/bad{path}", says, args.warm + args.seconds + 60):
                return drive(f"{host.url}/", args)

    cases = {
        "alone on half of the cores": alone,
        "beside 64 guests that spin": lambda: beside("/spin?ms=5000", b"spun\n"),
        "beside 64 guests that take 200 MiB each": lambda: beside("/hold?mib=200&ms=100", b"held\n"),
    }
    figures = in_turn(cases, args)
    base = next(iter(figures.values()))[0]
    lines = ["| a component | requests/s | p99 ms | of alone |", "|---|---:|---:|---:|"]
    for name, (rate, p99) in figures.items():
        lines.append(f"| {name} | {rate:,.0f} | {p99:.1f} | {rate / base:.2f} |")
    text = "\n".join(lines)
    if low := [name for name, (rate, _) in figures.items() if rate < LEAST * base]:
        raise Failed(f"{', '.join(low)}: less than {LEAST:.2f} of alone\n\n{text}")
    return text


def main():
    parser = run.arguments(__doc__, 5)
    parts = {"chains": chains, "routes": routes, "idle": lambda _: idle(), "neighbours": neighbours}
    parser.add_argument("--only", choices=parts, help="one part")
    args = parser.parse_args()
    if args.write and args.only:
        raise Failed("--write takes all parts")
    run.need_wrk()
    texts = [part(args) for name, part in parts.items() if args.only in (None, name)]
    text = "\n\n".join([run.machine(args, None, os.getloadavg()[0]), *texts])
    print(f"\n{text}")
    if args.write:
        run.write(text, BEGIN, END)


if __name__ == "__main__":
    run.enter(main)
