#!/usr/bin/env python3
"""Thousands of slow clients, and a good one beside them: what becomes of it.

slowhttptest (Debian) opens 1,000 connections that send or read a few bytes now and then. Beside them a client
sends one request after the other on fresh connections; each has to be answered 200.
"""

import collections
import http.client
import resource
import shutil
import subprocess
import sys
import time

import run

SECONDS = 50
CASES = [
    # What is slow, the guest, what the good client asks for, slowhttptest's flags and its path.
    ("bodies of 4 KiB (-B)", "echo_p2", "/", "-B -i 10 -x 10 -s 4096", "/"),
    ("bodies of 1 MB (-B)", "echo_p2", "/", "-B -i 10 -x 10 -s 1000000", "/"),
    ("readers of 16 MiB (-X)", "big_p2", "/?kib=4", "-X -w 512 -y 1024 -n 5 -z 32 -k 1", "/?kib=16384"),
]


def good(port, path):
    """The answers to one request after the other, and the longest that one took."""
    seen, slowest, end = collections.Counter(), 0.0, time.monotonic() + SECONDS
    while (began := time.monotonic()) < end:
        try:
            conn = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
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


def measure(number, what, guest, path, flags, slow):
    port = 18100 + number
    wasm = run.ROOT / "target" / "guests" / f"{guest}.wasm"
    host = subprocess.Popen(
        [run.ROOT / "target/release/host", "serve", wasm, "--addr", f"127.0.0.1:{port}"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        host.stdout.readline()
        url = f"http://127.0.0.1:{port}{slow}"
        command = ["slowhttptest", *flags.split(), "-c", "1000", "-r", "500", "-l", str(SECONDS - 5), "-u", url]
        attack = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seen, slowest = good(port, path)
        attack.wait(timeout=60)
    finally:
        host.terminate()
        last = host.communicate(timeout=60)[1].strip().splitlines()[-1]
    told = ", ".join(f"{count} × {status}" for status, count in seen.items())
    print(f"| {what} | {told} | {slowest:.2f} s | {last} |", flush=True)
    return set(seen) == {200}


def main():
    if not shutil.which("slowhttptest"):
        raise run.Failed("slowhttptest is missing; run: sudo apt-get install -y slowhttptest")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    print("| 1,000 clients | good requests | slowest | the host's last line |\n|---|---|---:|---|")
    fine = [measure(number, *case) for number, case in enumerate(CASES)]
    sys.exit(0 if all(fine) else 1)


if __name__ == "__main__":
    run.enter(main)
