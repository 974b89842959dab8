"""From exec to the first answer: how long a server takes that finds its component compiled."""

import re
import socket
import statistics
import time

import servers
from common import Failed, in_turn, table

STARTS = 20
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def cases(args):
    found = [servers.native(args)]
    for kind in ("0.2", "0.3"):
        command = servers.serve(args, servers.hello(kind), "--control", "off")
        found.append(servers.Server(f"host {kind}", command))
    found += servers.big(args)
    return [*found, *servers.wasmtime_serve("0.2", servers.hello("0.2"))]


def first_answer(server):
    """Milliseconds from just before the exec until the first answer is here."""
    with server.start() as running:
        host, _, port = running.address.rpartition(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(REQUEST)
            answer = b"".join(iter(lambda: client.recv(4096), b""))
        took = (time.monotonic() - running.began) * 1000
    if not re.match(rb"HTTP/1.1 200 ", answer):
        raise Failed(f"{server.name}: its first answer is {answer[:100]!r}")
    return {"took": took}


def measure(args, raw):
    """The table, and the medians by the server's name."""
    found = cases(args)
    for server in found:
        first_answer(server)  # fills its cache
    starts = type(args)(**{**vars(args), "rounds": STARTS})
    calls = {server.name: lambda server=server: first_answer(server) for server in found}
    results = in_turn(calls, starts, raw, "start")
    took = {name: [one["took"] for one in each] for name, each in results.items()}
    medians = {name: statistics.median(each) for name, each in took.items()}
    rows = [
        [name, f"{medians[name]:.1f}", f"{min(each):.1f}", f"{max(each):.1f}"] for name, each in took.items()
    ]
    return table([f"{STARTS} starts", "median ms", "best ms", "slowest ms"], rows), medians
