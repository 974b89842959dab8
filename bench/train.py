#!/usr/bin/env python3
"""Drives a host that counts what it does, for `make dist PGO=1`.

Some seconds of each kind of request: fresh and reused instances, plugins, bodies both ways, HTTP/1 and HTTP/2, large
guests, each with a line in the access log. What it leaves out is laid out as code that never runs, so add what you
want to be fast. Nothing is measured.
"""

import contextlib
import subprocess
import tempfile

import clients
import common
import servers
from common import CONNECTIONS, Failed
from plugins import component, route

# Bytes of the bodies that `echo` gets, and gives back.
BODIES = [100, 100_000]
H2_REQUESTS = 5_000
H2_CONNECTIONS, H2_STREAMS = 4, 16


def manifest():
    text = ""
    for kind in ("2", "3"):
        hello, echo, plugin = (servers.guest(f"{name}_p{kind}") for name in ("hello", "echo", "pass"))
        concurrency = "concurrency = 16\n" if kind == "3" else ""
        reuse = f"[component.reused{kind}.reuse]\nexchanges = 1000\n{concurrency}"
        text += component(f"fresh{kind}", hello) + route(f"/{kind}/fresh", f"fresh{kind}")
        text += component(f"reused{kind}", hello, reuse) + route(f"/{kind}/reused", f"reused{kind}")
        text += component(f"echo{kind}", echo) + route(f"/{kind}/echo", f"echo{kind}")
        text += component(f"pass{kind}", plugin)
        text += route(f"/{kind}/chain", f"fresh{kind}", f'chain = ["pass{kind}"]')
    for name, path in large():
        text += component(name, path) + route(f"/{name}", name)
    return text


def large():
    """The large guests that were built: a name for the manifest, and the file."""
    paths = [servers.GUESTS / f"{name}.wasm" for name in servers.BIG.values()]
    return [(path.stem.replace("_", "-"), path) for path in paths if path.exists()]


def drive(args, url):
    for kind in ("2", "3"):
        for path in ("fresh", "reused", "chain"):
            http1(args, f"{url}/{kind}/{path}")
            http2(f"{url}/{kind}/{path}")
        for size in BODIES:
            with body(clients.POST % size) as script:
                http1(args, f"{url}/{kind}/echo", script)
            with body("x" * size) as data:
                http2(f"{url}/{kind}/echo", "--data", data)
    for name, _ in large():
        http1(args, f"{url}/{name}")


def http1(args, url, script=None):
    common.say(f"HTTP/1 {url}")
    clients.sound([clients.wrk(url, args.seconds, CONNECTIONS, script)], url)


def http2(url, *more):
    common.say(f"HTTP/2 {url}")
    load = [f"-n{H2_REQUESTS}", f"-c{H2_CONNECTIONS}", f"-m{H2_STREAMS}"]
    ran = subprocess.run(["h2load", *load, *more, url], capture_output=True, text=True)
    if f"{H2_REQUESTS} succeeded" not in ran.stdout:
        raise Failed(f"h2load {url}: {ran.stdout}{ran.stderr}")


@contextlib.contextmanager
def body(text):
    """The name of a file that holds it."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(text)
        file.flush()
        yield file.name


def main():
    args = common.arguments(__doc__, 2).parse_args()
    common.need("wrk", "wrk")
    common.need("h2load", "nghttp2-client")
    with servers.native(args).start() as native:
        http1(args, native.url)
    with (
        tempfile.NamedTemporaryFile(suffix=".log") as log,
        servers.Host(args, manifest(), "--access-log", log.name) as host,
    ):
        drive(args, host.url)


if __name__ == "__main__":
    common.enter(main)
