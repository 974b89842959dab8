#!/usr/bin/env python3
"""A crowd that arrives at once, and then stays: what becomes of each of them, and of the probes meanwhile.

The host has 20,000 descriptors (`ulimit -n 20000`), as many places as it takes by default, and `hello_p2`. Each of
18,000 clients connects, from some of the addresses of loopback so that the ports suffice, sends one request when it is
connected, and keeps its connection after the answer until all have theirs.
"""

import collections
import errno
import re
import resource
import selectors
import socket
import time
import urllib.request

import common
from common import Failed, say
from servers import HEALTH, Running, guest, serve

DESCRIPTORS = 20_000
SOURCES = 8
PATIENCE = 60.0
REQUEST = b"GET / HTTP/1.1\r\nHost: crowd\r\n\r\n"
# Bytes of resident memory that each of the crowd may take at the peak.
EACH = 25 * 1024


class Client:
    """One of the crowd: connects, asks, and has an end."""

    def __init__(self, number, address):
        self.sock, self.asked, self.answer, self.end = socket.socket(), False, b"", None
        self.sock.setblocking(False)
        self.sock.bind((f"127.0.0.{2 + number % SOURCES}", 0))
        self.sock.connect_ex(address)

    def wants(self):
        return selectors.EVENT_READ if self.asked else selectors.EVENT_WRITE

    def turn(self):
        """Does what it can. Gives whether its end has come."""
        try:
            if not self.asked:
                failed = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if failed:
                    raise OSError(failed, "connect")
                self.sock.send(REQUEST)
                self.asked = True
                return False
            piece = self.sock.recv(4096)
        except BlockingIOError:
            return False
        except OSError as why:
            self.end = f"{errno.errorcode.get(why.errno, why)}"
            return True
        self.answer += piece
        self.end = self.judge(piece == b"")
        return self.end is not None

    def judge(self, is_over):
        head, _, body = self.answer.partition(b"\r\n\r\n")
        status = re.match(rb"HTTP/1.1 (\d+)", head)
        length = re.search(rb"content-length: (\d+)", head.lower())
        if status and length and len(body) >= int(length.group(1)):
            if status.group(1) == b"503" and b"retry-after:" not in head.lower():
                return "503 without Retry-After"
            return status.group(1).decode()
        return "closed without an answer" if is_over else None


def probe(url):
    """The milliseconds that `/livez` takes."""
    began = time.monotonic()
    with urllib.request.urlopen(f"http://{url}/livez", timeout=10) as answer:
        answer.read()
    return (time.monotonic() - began) * 1000


def crowd(host, health, count):
    """The ends of all, and the slowest probe."""
    name, port = host.address.rsplit(":", 1)
    ready, ends, slowest, last = selectors.DefaultSelector(), collections.Counter(), 0.0, 0.0
    clients, until, left = [], time.monotonic() + PATIENCE, count
    while left and time.monotonic() < until:
        # As fast as one process can connect, and see what came of it.
        for number in range(len(clients), min(count, len(clients) + 100)):
            clients.append(Client(number, (name, int(port))))
            ready.register(clients[-1].sock, clients[-1].wants(), clients[-1])
        for key, _ in ready.select(0.1 if len(clients) == count else 0):
            client = key.data
            if client.end:
                # It has its answer, and is told to go.
                ready.unregister(client.sock)
                client.sock.close()
                continue
            asked = client.asked
            if client.turn():
                ends[client.end] += 1
                left -= 1
            elif client.asked != asked:
                ready.modify(client.sock, client.wants(), client)
        if time.monotonic() - last > 0.25:
            slowest, last = max(slowest, probe(health)), time.monotonic()
    ends["no end"] += left
    for client in clients:
        client.sock.close()
    return +ends, slowest


def main():
    parser = common.arguments(__doc__, 60)
    parser.add_argument("--clients", type=int, default=18_000, help="that arrive at once (18,000)")
    args = common.parse(parser)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < args.clients + 1000:
        raise Failed(f"`ulimit -Hn` is {hard}; it takes {args.clients + 1000}")
    # The host inherits these, and raises its own up to the hard one.
    command = ["prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}"]
    with Running([*command, *serve(args, guest("hello_p2"), "--control", "off", "--health-addr", "127.0.0.1:0")]) as host:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        health = re.search(HEALTH, host.said()).group(1)
        before, began = host.resident(), time.monotonic()
        ends, slowest = crowd(host, health, args.clients)
        took = time.monotonic() - began
        grown = host.peak_memory() - before
    told = ", ".join(f"{count:,} × {end}" for end, count in ends.most_common())
    last = host.last_words.splitlines()[-1]
    print("| clients | ends | took | slowest probe | memory of each | the host's last line |\n|---:|---|---:|---:|---:|---|")
    print(f"| {args.clients:,} | {told} | {took:.1f} s | {slowest:.0f} ms | {grown / args.clients / 1024:.1f} KiB | {last} |")
    missed = []
    if set(ends) - {"200", "503"}:
        missed.append("some were neither answered nor refused")
    if slowest > 1000:
        missed.append("a probe took more than a second")
    if grown > args.clients * EACH:
        missed.append("memory")
    if missed:
        raise Failed("; ".join(missed))
    say("all were answered, or refused politely")


if __name__ == "__main__":
    common.enter(main)
