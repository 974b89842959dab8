#!/usr/bin/env python3
"""Draws requests/s, CPU time and memory against connections, components, the size of a body, and workers.

    make bench-scale                    build everything, measure, draw into target/bench/pictures
    make bench-scale BENCH=--write      the same, and put the pictures into bench/pictures and bench/README.md

Each point is a server of its own; all points of a picture are measured in turn. It takes a quarter of an hour.
"""

import pathlib
import resource
import tempfile

import clients
import common
import pictures
import plugins
import servers
from common import CONNECTIONS, Failed, in_turn

# For 10,000 connections at each end, and what a server has open besides.
DESCRIPTORS = 16_000
# So that the host refuses nobody: by default 10,000 connections, and 1,000 requests that wait for an instance.
NO_REFUSAL = ["--max-connections", "11000", "--max-queue", "20000", "--queue-timeout", "10s"]

CLIENTS = (1, 10, 100, 1_000, 10_000)
COMPONENTS = (1, 10, 100, 1_000)
BODIES = {"0": 0, "1 KiB": 1 << 10, "10 KiB": 10 << 10, "100 KiB": 100 << 10, "1 MiB": 1 << 20, "10 MiB": 10 << 20}
WORKERS = (1, 2, 4, 8)
CHUNK = 64 << 10
# Fewer than elsewhere, so that each has a few bodies of 10 MiB in two seconds.
BODY_CONNECTIONS = 16

GET_EACH = """
local requests, last = {}, 0
init = function()
    for number = 0, %d do requests[#requests + 1] = wrk.format("GET", "/" .. number) end
end
request = function()
    last = last %% #requests + 1
    return requests[last]
end
"""


def point(command, args, path="/", connections=CONNECTIONS, script=None):
    """One server under one load: what the client says, and the most memory that the server had."""
    # wrk counts from its first connect; 10,000 of them take it most of a second.
    seconds = args.seconds + connections // 2_000
    with servers.Running(command) as running, tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script or "")
        file.flush()
        lua = file.name if script else None
        url = running.url + path
        clients.wrk(url, args.warm, min(connections, CONNECTIONS), lua)
        result = clients.observed(running, lambda: clients.wrk(url, seconds, connections, lua))
        return {**result, "memory": running.peak_memory()}


def host(args, app, *flags):
    return servers.serve(args, app, "--control", "off", *flags)


def connections(args, _):
    for count in CLIENTS:
        command = servers.native(args).command
        yield "native hyper", f"{count:,}", lambda command=command, count=count: point(command, args, "/", count)
        for kind in ("0.2", "0.3"):
            command = host(args, servers.hello(kind), *NO_REFUSAL)
            yield f"host {kind}", f"{count:,}", lambda command=command, count=count: point(command, args, "/", count)


def components(args, folder):
    files = list(plugins.distinct(folder, max(COMPONENTS)))
    kinds = {
        "0.2, each a file of its own": files,
        "0.2, all of one file": [servers.hello("0.2")] * len(files),
        "0.3, all of one file": [servers.hello("0.3")] * len(files),
    }
    for count in COMPONENTS:
        for name, sources in kinds.items():
            manifest = folder / f"{name}-{count}.toml"
            manifest.write_text(
                "".join(
                    plugins.component(f"c{number}", source) + plugins.route(f"/{number}", f"c{number}")
                    for number, source in enumerate(sources[:count])
                )
            )
            command, script = host(args, manifest), GET_EACH % (count - 1)
            yield name, f"{count:,}", lambda command=command, script=script: point(command, args, "/", script=script)


def bodies(args, _):
    for name, size in BODIES.items():
        for kind in ("0.2", "0.3"):
            sender = host(args, servers.guest(f"drip_p{kind[-1]}"))
            chunks = f"n={-(-size // CHUNK)}&bytes={min(size, CHUNK)}"
            path = f"/?declare=1&{chunks}" if size else "/?n=0"
            yield f"{kind}, down", name, lambda sender=sender, path=path: point(sender, args, path, BODY_CONNECTIONS)
            reader = host(args, servers.guest(f"reader_p{kind[-1]}"))
            script = clients.POST % size
            yield f"{kind}, up", name, lambda reader=reader, script=script: point(
                reader, args, "/count", BODY_CONNECTIONS, script
            )


def workers(args, _):
    for count in WORKERS:
        for kind in ("0.2", "0.3"):
            command = host(args, servers.hello(kind), "--threads", str(count))
            yield f"host {kind}", str(count), lambda command=command: point(command, args)


SWEEPS = {"connections": connections, "components": components, "bodies": bodies, "workers": workers}


def sweep(name, args, raw, folder):
    """Measures all points of one picture; gives what was not answered, or not well."""
    calls = {}
    for series, x, measure in SWEEPS[name](args, folder):
        calls[f"{series} | {x}"] = measure
    wrong = []
    for case, each in in_turn(calls, args, raw, name).items():
        other, broken = (sum(result[what] for result in each) for what in ("other", "broken"))
        if other or broken:
            wrong.append(f"{name}: {case}: {other} answers not 2xx, {broken} broken")
    return wrong


def main():
    args = common.parse(common.arguments(__doc__, 2, parts=SWEEPS))
    common.need("wrk", "wrk")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < DESCRIPTORS:
        raise Failed(f"10,000 connections take {DESCRIPTORS} open files; as root: ulimit -Hn {DESCRIPTORS}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, most))
    load = common.quiet(args)
    raw, wrong = common.Raw("scale", args, load), []
    with tempfile.TemporaryDirectory() as folder:
        for name in SWEEPS:
            if args.only in (None, name):
                wrong += sweep(name, args, raw, pathlib.Path(folder))
    pictures.draw(raw.path, common.BUILT / "bench" / "pictures")
    if wrong:
        raise Failed("requests were not answered, or not well:\n  " + "\n  ".join(wrong))
    if args.write:
        raw.keep()
        pictures.draw(common.RESULTS / raw.path.name, pictures.FOLDER)
        common.write("\n\n".join([common.machine(args, load), *pictures.shown()]), "scale.py")


if __name__ == "__main__":
    common.enter(main)
