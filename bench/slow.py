#!/usr/bin/env python3
"""Thousands of slow clients, and a good one beside them: what becomes of it.

slowhttptest (Debian) opens 1,000 connections that send or read a few bytes now and then. Beside them a client
sends one request after the other on fresh connections; each has to be answered 200.
"""

import collections
import http.client
import subprocess
import time

import common
from common import Failed
from servers import Running, guest, serve

CASES = [
    # What is slow, the guest, what the good client asks for, slowhttptest's flags and its path.
    ("bodies of 4 KiB (-B)", "echo_p2", "/", "-B -i 10 -x 10 -s 4096", "/"),
    ("bodies of 1 MB (-B)", "echo_p2", "/", "-B -i 10 -x 10 -s 1000000", "/"),
    ("readers of 16 MiB (-X)", "big_p2", "/?kib=4", "-X -w 512 -y 1024 -n 5 -z 32 -k 1", "/?kib=16384"),
]


def good(address, path, seconds):
    """The answers to one request after the other, and the longest that one took."""
    seen, slowest, end = collections.Counter(), 0.0, time.monotonic() + seconds
    while (began := time.monotonic()) < end:
        try:
            conn = http.client.HTTPConnection(address, timeout=30)
            conn.request("GET", path)
            answer = conn.getresponse()
            answer.read()
            conn.close()
            seen[answer.status] += 1
        except OSError as why:
            seen[type(why).__name__] += 1
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(0.05)
    return seen, slowest


def measure(args, what, app, path, flags, slow):
    with Running(serve(args, guest(app))) as host:
        command = ["slowhttptest", *flags.split(), "-c", "1000", "-r", "500", "-l", str(args.seconds - 5)]
        attack = subprocess.Popen(
            [*command, "-u", host.url + slow], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        seen, slowest = good(host.address, path, args.seconds)
        attack.wait(timeout=60)
    told = ", ".join(f"{count} × {status}" for status, count in seen.items())
    print(f"| {what} | {told} | {slowest:.2f} s | {host.last_words.splitlines()[-1]} |", flush=True)
    return set(seen) == {200}


def main():
    args = common.parse(common.arguments(__doc__, 50))
    common.need("slowhttptest", "slowhttptest")
    common.raise_descriptors()
    print("| 1,000 clients | good requests | slowest | the host's last line |\n|---|---|---:|---|")
    wrong = [case[0] for case in CASES if not measure(args, *case)]
    if wrong:
        raise Failed(f"not each good request was answered 200: {', '.join(wrong)}")


if __name__ == "__main__":
    common.enter(main)
