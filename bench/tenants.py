#!/usr/bin/env python3
"""Many tenants in one host: thousands of components that differ, each with its file of the manifest.

Measures the start from a filled cache, what is resident then, the first request of tenants whose code is not mapped,
requests after that, and the reload of one tenant: its component is another one, and the host is told.
"""

import http.client
import pathlib
import random
import shutil
import statistics
import time

import common
import servers
from common import Failed, say

# As long as what it stands in the place of.
BODY = b"hello world\n"
SIZE = 30 * 1024
FOLDER = common.BUILT / "bench-tenants"


def component(number, version, template):
    """A component that answers with its number and version, with bytes behind it that nobody reads up to the size."""
    answer = f"{number:05} {version:05}\n".encode()
    if template.count(BODY) != 1:
        raise Failed(f"hello_p2.wasm has {BODY} {template.count(BODY)} times")
    name = b"tenant"
    filler = random.Random(f"{number} {version}").randbytes(max(SIZE - len(template) - 16, 0))
    payload = bytes([len(name)]) + name + filler
    return template.replace(BODY, answer) + b"\0" + leb(len(payload)) + payload, answer


def leb(number):
    out = bytearray()
    while True:
        number, low = number >> 7, number & 0x7F
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def make(tenants, code_memory, folder=FOLDER):
    """The folder that a host serves: host.toml, tenants/*.toml, components/*.wasm."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "tenants").mkdir(parents=True)
    (folder / "components").mkdir()
    template = (common.GUESTS / "hello_p2.wasm").read_bytes()
    total = f'code-memory = "{code_memory}"\n' if code_memory else ""
    (folder / "host.toml").write_text(
        f'include = "tenants/*.toml"\n\n[total]\ninstances = 64\n{total}'
    )
    for number in range(tenants):
        name = f"t{number:05}"
        (folder / "components" / f"{name}.wasm").write_bytes(component(number, 0, template)[0])
        (folder / "tenants" / f"{name}.toml").write_text(
            f'[component.{name}]\nsource = "../components/{name}.wasm"\n\n'
            f'[[route]]\npath = "/{name}"\ncomponent = "{name}"\n'
        )
    return folder / "host.toml"


def started(args, manifest):
    """A host that serves the folder, with its control socket."""
    return servers.Host(args, manifest)


def resident(host, shared_before):
    """Bytes that are resident for it. Of files in memory all that there are: not each page of them is mapped."""
    pid = host.process.pid
    own = sum(servers.kilobytes_of(pid, name) for name in ("RssAnon", "RssFile"))
    return (own + max(shared() - shared_before, servers.kilobytes_of(pid, "RssShmem"))) * 1024


def shared():
    """Kilobytes of files in memory, of the whole machine."""
    line = next(line for line in pathlib.Path("/proc/meminfo").read_text().splitlines() if line.startswith("Shmem:"))
    return int(line.split()[1])


def timed(conn, number, version=0):
    """Milliseconds of a request to a tenant, which answers as it should."""
    began = time.monotonic()
    conn.request("GET", f"/t{number:05}")
    answer = conn.getresponse()
    body = answer.read()
    took = (time.monotonic() - began) * 1000
    if (answer.status, body) != (200, f"{number:05} {version:05}\n".encode()):
        raise Failed(f"tenant {number}: {answer.status} {body}")
    return took


def reloaded(host, conn, args, number, version, *command):
    """Milliseconds from the command until a request has the new version; its component has just been written."""
    template = (common.GUESTS / "hello_p2.wasm").read_bytes()
    path = FOLDER / "components" / f"t{number:05}.wasm"
    new = path.with_suffix(".new")
    new.write_bytes(component(number, version, template)[0])
    new.rename(path)
    began = time.monotonic()
    host.ctl(*command, *([path] if command[0] == "swap" else []))
    timed(conn, number, version)
    return (time.monotonic() - began) * 1000


def measure(args, manifest):
    """One start, and what is asked of it."""
    before, picks = shared(), random.Random(args.tenants)
    with started(args, manifest) as host:
        conn = http.client.HTTPConnection(host.address, timeout=60)
        found = {"ready s": host.start, "resident MiB": resident(host, before) / 2**20}
        # What was proven first has been given back, and a request or two come before the measurement.
        cold = picks.sample(range(args.tenants // 2), min(args.cold, args.tenants // 2))
        for number in cold[:10]:
            timed(conn, number)
        firsts = sorted(timed(conn, number) for number in cold[10:])
        seconds = sorted(timed(conn, number) for number in cold[-10:] * 20)
        found |= {
            "cold ms": statistics.median(firsts),
            "cold p99 ms": firsts[int(len(firsts) * 0.99)],
            "cold slowest ms": firsts[-1],
            "warm ms": statistics.median(seconds),
            "resident after MiB": resident(host, before) / 2**20,
        }
        version = int(time.time()) % 99_000
        swaps = [
            reloaded(host, conn, args, number, version + 1, "swap", "--component", f"t{number:05}")
            for number in picks.sample(range(args.tenants), 20)
        ]
        found["swap of one ms"] = statistics.median(swaps)
        reloads = [
            reloaded(host, conn, args, number, version + 2, "reload")
            for number in picks.sample(range(args.tenants), 3)
        ]
        found["reload of all ms"] = statistics.median(reloads)
    return found


def main():
    parser = common.arguments(__doc__, 0, warm=0)
    parser.add_argument("--tenants", type=int, default=10_000, help="components (10,000)")
    parser.add_argument("--code-memory", default="256MiB", help="total.code-memory (256MiB)")
    parser.add_argument("--cold", type=int, default=1000, help="tenants whose first request is measured (1000)")
    args = common.parse(parser)
    load = common.quiet(args)
    manifest = make(args.tenants, args.code_memory)
    with started(args, manifest) as host:
        say(f"started in {host.start:.1f} s, with what had to be compiled")
    raw = common.Raw("tenants", args, load)
    rounds = []
    for number in range(1, args.rounds + 1):
        manifest = make(args.tenants, args.code_memory)
        rounds.append(measure(args, manifest))
        raw.add(part="tenants", round=number, **rounds[-1])
        say(f"round {number}: " + ", ".join(f"{name} {value:.2f}" for name, value in rounds[-1].items()))
    names = list(rounds[0])
    rows = [[name, *(f"{middle:,.2f}" for middle in [common.middle(rounds, name)])] for name in names]
    text = (
        f"{common.machine(args, load)} {args.tenants:,} components of {SIZE // 1024} KiB, code-memory {args.code_memory}; "
        f"medians of the rounds.\n\n{common.table(['', 'median'], rows)}"
    )
    print(text)
    if args.write:
        common.write(text, "tenants.py")
        raw.keep()


if __name__ == "__main__":
    common.enter(main)
