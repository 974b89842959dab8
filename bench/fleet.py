#!/usr/bin/env python3
"""From one process to a fleet: what cores and hosts add, what HAProxy in front takes, and how many requests in flight
a host is still fast with, which is the target of an autoscaler.

    make bench-fleet                      measure, print: 4 minutes
    make bench-fleet BENCH=--write        the same, and put the tables into docs/scaling.md
    make bench-fleet BENCH="--busy --rounds 1 --seconds 3 --only flight"

Cores 0 and 1 are the hosts'. On a machine with two, wrk and HAProxy share them with the hosts: there requests/s do
not add up, and CPU time of a request does.
"""

import concurrent.futures
import contextlib
import pathlib
import re
import subprocess
import tempfile
import threading
import time
import urllib.request

import clients
import common
from common import ROOT, Failed, built
from servers import CACHE, HEALTH, Running, guest, usage_of

PARTS = ("cores", "proxy", "flight")
PAGE = ROOT / "docs" / "scaling.md"
# Three hosts and HAProxy, on addresses of the loopback with the ports of deploy/haproxy/haproxy.cfg.
HOSTS = ["127.0.0.11", "127.0.0.12", "127.0.0.13"]
FRONT = "127.0.0.14"
FLIGHT = [1, 16, 64, 256, 512, 1024]
# What an autoscaler should leave of a core: the part that requests may take.
PART = 0.7
GUESTS = [("computes only", "hello_p2", "/"), ("waits for 50 ms", "sleep_p2", "/?ms=50")]


def host(args, app="hello_p2", address="127.0.0.1:0", cores=None, threads=1):
    """A host with so many workers, on these cores."""
    ip, _, port = address.rpartition(":")
    health = f"{ip}:{int(port) and 8081}"
    command = ["taskset", "-c", cores] if cores else []
    command += [built(args, "host"), "serve", guest(app), "--addr", address, "--health-addr", health]
    return Running([*command, "--threads", threads, "--cache-dir", CACHE, "--control", "off"])


def all_at_once(work, these):
    with concurrent.futures.ThreadPoolExecutor(len(these)) as pool:
        return list(pool.map(work, these))


def measured(args, targets, servers, connections=common.CONNECTIONS):
    """Drives each of `targets` with its part of the connections, and gives what all `servers` took together."""
    each = max(1, connections // len(targets))
    all_at_once(lambda url: clients.wrk(url, args.warm, each), targets)
    before = [usage_of(server.process.pid)[0] for server in servers]
    results = all_at_once(lambda url: clients.wrk(url, args.seconds, each), targets)
    took = [usage_of(server.process.pid)[0] - start for server, start in zip(servers, before)]
    clients.sound(results, " ".join(targets))
    requests = sum(result["requests"] for result in results)
    return {
        "rate": sum(result["rate"] for result in results),
        "cpu": sum(took) / requests * 1e6,
        "switches": 0.0,
        "p50": max(result["p50"] for result in results),
        "p99": max(result["p99"] for result in results),
        "mib": sum(server.peak_memory() for server in servers) / 2**20,
        "first": took[0] / requests * 1e6,
    }


def cores(args, raw):
    def run(*hosts):
        with contextlib.ExitStack() as stack:
            running = [stack.enter_context(start) for start in hosts]
            return measured(args, [server.url for server in running], running)

    cases = {
        "one host on one core": lambda: run(host(args, cores="0")),
        "one host on two cores": lambda: run(host(args, cores="0,1", threads=2)),
        "two hosts on one core each": lambda: run(host(args, cores="0"), host(args, cores="1")),
    }
    results = common.in_turn(cases, args, raw, "cores")
    head = ["hello_p2, 64 connections", "requests/s", "CPU µs/request", "p99 ms", "MiB together"]
    return common.table(head, [row(name, rounds, ["rate", "cpu", "p99", "mib"]) for name, rounds in results.items()])


@contextlib.contextmanager
def haproxy(count):
    """HAProxy with the shipped file and so many of its servers."""
    config = (ROOT / "deploy/haproxy/haproxy.cfg").read_text().replace("10.0.0.", "127.0.0.")
    config = config.replace("bind :80\n", f"bind {FRONT}:8080\n").replace("bind :8443", f"bind {FRONT}:8443")
    for name, ip in list(zip("abc", HOSTS))[count:]:
        config = config.replace(f"    server {name} {ip}", f"    # server {name} {ip}")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "haproxy.cfg"
        path.write_text(config)
        said = subprocess.DEVNULL
        with subprocess.Popen(["haproxy", "-db", "-f", path], stdout=said, stderr=said) as process:
            try:
                yield process
            finally:
                process.kill()


class Front:
    """HAProxy, for those who ask what a server took."""

    def __init__(self, process):
        self.process = process

    def peak_memory(self):
        return 0


def proxy(args, raw):
    common.need("haproxy", "haproxy")

    def run(count, is_behind=True):
        with contextlib.ExitStack() as stack:
            hosts = [stack.enter_context(host(args, address=f"{ip}:8080")) for ip in HOSTS[:count]]
            if not is_behind:
                return measured(args, [hosts[0].url], hosts)
            process = stack.enter_context(haproxy(count))
            url = f"http://{FRONT}:8080"
            wait_for(url, process)
            result = measured(args, [url], [Front(process), *hosts])
            return {**result, "cpu": result["cpu"] - result["first"]}

    cases = {"one host, without HAProxy": lambda: {**run(1, False), "first": 0.0}}
    for count in (1, 2, 3):
        cases[f"{count} behind HAProxy"] = lambda count=count: run(count)
    results = common.in_turn(cases, args, raw, "proxy")
    head = ["hello_p2, 64 connections", "requests/s", "CPU µs/request of hosts", "of HAProxy", "p99 ms", "MiB of hosts"]
    what = ["rate", "cpu", "first", "p99", "mib"]
    return common.table(head, [row(name, rounds, what) for name, rounds in results.items()])


def wait_for(url, process):
    for _ in range(1000):
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=10):
            return
        if process.poll() is not None:
            break
        time.sleep(0.01)
    raise Failed("haproxy does not serve; `haproxy -c -f deploy/haproxy/haproxy.cfg` may say why")


def flight(args, raw):
    """What becomes of rate and latency as more are in flight, and how many fit into a part of a core."""
    tables = []
    for what, app, path in GUESTS:
        cases = {str(many): lambda many=many: in_flight(args, app, path, many) for many in FLIGHT}
        results = common.in_turn(cases, args, raw, f"flight, {what}")
        figures = ["rate", "active", "cpu", "p50", "p99", "target"]
        rows = [row(many, rounds, figures) for many, rounds in results.items()]
        head = [f"{what} ({app}), connections", "requests/s", "in flight", "CPU µs/request", "p50 ms", "p99 ms"]
        head.append(f"in flight at {PART} of a core")
        tables.append(common.table(head, rows))
    return "\n\n".join(tables)


def in_flight(args, app, path, many):
    with host(args, app, cores="0") as server:
        metrics = f"http://{re.search(HEALTH, server.said()).group(1)}/metrics"
        seen, ended = [], threading.Event()
        reader = threading.Thread(target=watch, args=(metrics, seen, ended))
        reader.start()
        try:
            result = measured(args, [server.url + path], [server], many)
        finally:
            ended.set()
            reader.join()
    active = sum(seen) / len(seen)
    # Requests/s that a core has CPU time for, times the seconds that each is in flight (Little's law). It does not
    # depend on what else the machine does, as the rate does.
    target = PART * 1e6 / result["cpu"] * active / result["rate"]
    return {**result, "active": active, "target": target}


def watch(url, seen, ended):
    """Samples of the metric that an autoscaler is given."""
    while not ended.wait(0.1):
        with urllib.request.urlopen(url, timeout=30) as page:
            text = page.read().decode()
        # One for each component, and each method.
        found = re.findall(r"^http_server_active_requests(?:{[^}]*})? (\S+)$", text, re.M)
        seen.append(sum(map(float, found)))


def row(name, rounds, what):
    figures = [common.middle(rounds, key) for key in what]
    shown = {"rate": "{:,.0f}", "mib": "{:.0f}", "active": "{:.1f}", "target": "{:.1f}"}
    return [name, *(shown.get(key, "{:.2f}").format(figure) for key, figure in zip(what, figures))]


def main():
    args = common.parse(common.arguments(__doc__, 3, parts=PARTS))
    common.need("wrk", "wrk")
    common.raise_descriptors()
    load = common.quiet(args)
    raw = common.Raw("fleet", args, load)
    parts = {"cores": cores, "proxy": proxy, "flight": flight}
    texts = [part(args, raw) for name, part in parts.items() if args.only in (None, name)]
    texts.insert(0, common.machine(args, load))
    print("\n\n".join(["", *texts]))
    if args.write:
        raw.keep()
        common.write("\n\n".join(texts), "fleet.py", PAGE)


if __name__ == "__main__":
    common.enter(main)
