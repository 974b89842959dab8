#!/usr/bin/env python3
"""Measures what a manifest costs: many routes, many idle components; and for run.py plugins in a chain, and
what a neighbour that misbehaves takes from a component that does not.

    make bench-plugins                    build everything, measure, print
    make bench-plugins BENCH=--write      the same, and put the result into bench/README.md

Whatever is compared is measured in turn, in one run. It fails if a neighbour takes too much.
"""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

import common
from clients import observed, sound, wrk
from common import CONNECTIONS, Failed, in_turn, middle, table
from servers import STOP_PATIENCE, Host, guest

ROUTES, COMPONENTS, PLUGINS = 10_000, 500, 3

# What a component keeps beside a bad one, of what it has with half of the machine; less fails.
LEAST = 0.80
# A neighbour of another process, which the kernel gives its share and no more.
SPIN = [sys.executable, "-c", "while True: pass"]
# Lines of wrk that say how many answers there were, and how many of another kind.
NOISE = re.compile(r"requests in|Non-2xx|Socket errors")
NOISE_PATIENCE = 30.0


def component(name, source, more=""):
    return f"[component.{name}]\nsource = {json.dumps(str(source))}\n{more}\n"


def route(path, to, more=""):
    return f"[[route]]\npath = {json.dumps(path)}\ncomponent = {json.dumps(to)}\n{more}\n"


def drive(host, path, args):
    wrk(host.url + path, args.warm)
    return observed(host, lambda: measured(host, path, args))


def measured(host, path, args):
    result = wrk(host.url + path, args.seconds)
    sound([result], path)
    return result


def chains(args, raw):
    """A hello without plugins, and behind three that pass on, for both kinds: a table, and the CPU time of
    one plugin in µs by the kind."""
    names = [f"pass{number}" for number in range(PLUGINS)]
    text, calls = "", {}
    for kind in ("2", "3"):
        text += component(f"hello{kind}", guest(f"hello_p{kind}")) + route(f"/{kind}/0", f"hello{kind}")
        plugins = [f"{name}-{kind}" for name in names]
        text += "".join(component(plugin, guest(f"pass_p{kind}")) for plugin in plugins)
        text += route(f"/{kind}/{PLUGINS}", f"hello{kind}", f"chain = {json.dumps(plugins)}")
    with Host(args, text) as host:
        for kind in ("2", "3"):
            for plugins in (0, PLUGINS):
                path = f"/{kind}/{plugins}"
                calls[f"0.{kind}, {plugins} plugins"] = lambda path=path: drive(host, path, args)
        results = in_turn(calls, args, raw, "chains")
    rows, cost = [], {}
    for name, each in results.items():
        kind, plugins = re.fullmatch(r"(.*), (\d+) plugins", name).groups()
        none = results[f"{kind}, 0 plugins"]
        cells = [name, f"{middle(each, 'rate'):,.0f}", f"{middle(each, 'p99'):.1f}"]
        cells += [f"{middle(each, 'rate') / middle(none, 'rate'):.2f}", f"{middle(each, 'cpu'):.1f}"]
        if plugins != "0":
            cost[kind] = (middle(each, "cpu") - middle(none, "cpu")) / PLUGINS
        rows.append([*cells, "-" if plugins == "0" else f"{cost[kind]:.1f}"])
    head = ["chain", "requests/s", "p99 ms", "of none", "CPU µs/request", "for each plugin"]
    return table(head, rows), cost


def routes(args, raw):
    one = component("hello", guest("hello_p2")) + route("/", "hello")
    more = "".join(route(f"/shop/{number}/items", "hello") for number in range(ROUTES - 1))
    with Host(args, one) as few, Host(args, one + more) as many:
        path = f"/shop/{ROUTES // 2}/items/1"
        calls = {
            "1 route": lambda: drive(few, path, args),
            f"{ROUTES:,} routes": lambda: drive(many, path, args),
        }
        one, many_of_them = in_turn(calls, args, raw, "routes").values()
        start = many.start
    return (
        f"- {ROUTES:,} routes: {middle(many_of_them, 'rate'):,.0f} requests/s and"
        f" {middle(many_of_them, 'cpu'):.1f} µs of CPU time for each; one route: {middle(one, 'rate'):,.0f} and"
        f" {middle(one, 'cpu'):.1f} µs. The host was ready after {start:.2f} s."
    )


def distinct(folder, count):
    """Components that do the same and are not the same: a custom section more."""
    original = guest("hello_p2").read_bytes()
    for number in range(count):
        name = f"n{number:05}".encode()
        section = bytes([len(name)]) + name
        path = folder / f"{number}.wasm"
        path.write_bytes(original + b"\x00" + bytes([len(section)]) + section)
        yield path


def idle(args, raw):
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
            with Host(args, text):
                pass  # fills the cache
            with Host(args, text) as host:
                start, resident = host.start, host.resident()
            raw.add(part="idle", case=name, start=start, resident=resident)
            base = base or resident
            each = (resident - base) / max(len(sources) - 1, 1) / 1024
            more = f", {each:.0f} KiB for each one more" if len(sources) > 1 else ""
            lines.append(
                f"- {name}: ready after {start:.2f} s, {resident / 2**20:.0f} MiB resident{more}."
            )
            common.say(lines[-1])
    return "\n".join(lines)


class Noise:
    """64 clients that keep a bad component busy. Leaving the `with` block ends them and says what they
    got."""

    def __init__(self, host, path, says, seconds):
        self.host, self.path = host, path
        # One by itself first: were it answered otherwise, the rest would be no noise.
        try:
            said = host.answer(path)
        except OSError as why:
            said = why
        if said != says:
            raise Failed(f"{path} answers {said!r} instead of {says!r}: that is no noise")
        self.command = ["wrk", "-t1", f"-c{CONNECTIONS}", "--timeout", "60s", f"-d{seconds}s"]

    def __enter__(self):
        self.process = subprocess.Popen(
            [*self.command, f"{self.host.url}{self.path}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            until = time.monotonic() + NOISE_PATIENCE
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
        common.say(f"noise {self.path}: {in_use} instances, {memory} MiB; {told}")

    def end(self):
        """What wrk has to say in the end."""
        self.process.send_signal(signal.SIGINT)
        return self.process.communicate(timeout=STOP_PATIENCE)[0]

    def bad(self):
        """What the status says of the bad component."""
        return next(one for one in self.host.status()["components"] if one["name"] == "bad")


@contextlib.contextmanager
def spinning():
    with subprocess.Popen(SPIN) as process:
        try:
            yield
            if process.poll() is not None:
                raise Failed("the process that was to spin has ended")
        finally:
            process.kill()


def neighbours(args, raw):
    """A good component with half of two cores, and on both beside a bad one: a table, and what fails the run."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    # Inherited by all that is started from here on. More cores would only make it easier.
    os.sched_setaffinity(0, cores)
    good = component("hello", guest("hello_p2")) + route("/", "hello")
    limits = '[component.bad.limits]\ncpu-time = "10s"\nmemory = "256MiB"\n'
    bad = component("bad", guest("hostile_p2"), limits) + route("/bad", "bad", "strip-prefix = true")

    def good_one(host):
        wrk(host.url, args.warm)
        return measured(host, "/", args)

    def half():
        # The client gets no core for itself, as it gets none beside a bad component.
        with Host(args, good, "--threads", "1") as host, spinning():
            return good_one(host)

    def beside(path, says):
        with Host(args, good + bad) as host:
            # Longer than the measurement, which ends it.
            with Noise(host, f"/bad{path}", says, args.warm + args.seconds + 60):
                return good_one(host)

    calls = {
        "on one worker, beside a process that spins": half,
        "beside 64 guests that spin": lambda: beside("/spin?ms=5000", b"spun\n"),
        "beside 64 guests that take 200 MiB each": lambda: beside("/hold?mib=200&ms=100", b"held\n"),
    }
    results = in_turn(calls, args, raw, "neighbours")
    rates = {name: middle(each, "rate") for name, each in results.items()}
    base = next(iter(rates.values()))
    rows = [
        [name, f"{rate:,.0f}", f"{middle(results[name], 'p99'):.1f}", f"{rate / base:.2f}"]
        for name, rate in rates.items()
    ]
    low = [f"{name}: less than {LEAST:.2f} of half" for name, rate in rates.items() if rate < LEAST * base]
    return table(["a component", "requests/s", "p99 ms", "of half"], rows), low


# Chains and neighbours are parts of run.py.
PARTS = {"routes": routes, "idle": idle}


def main():
    args = common.parse(common.arguments(__doc__, 4, parts=PARTS))
    common.need("wrk", "wrk")
    load = common.quiet(args)
    raw = common.Raw("plugins", args, load)
    texts = [part(args, raw) for name, part in PARTS.items() if args.only in (None, name)]
    text = "\n\n".join([common.machine(args, load), *texts])
    print(f"\n{text}")
    if args.write:
        raw.keep()
        common.write(text, "plugins.py")


if __name__ == "__main__":
    common.enter(main)
