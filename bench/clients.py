"""The clients of the benchmarks, and what they say in the end: wrk, which sends as fast as it is answered, and
bench-load, which keeps to a timetable."""

import json
import re
import subprocess

from common import CONNECTIONS, Failed, built

# A script of wrk: requests with a body of so many bytes.
POST = """
wrk.method = "POST"
wrk.body = string.rep("x", %d)
"""

MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


def wrk(url, seconds, connections=CONNECTIONS, script=None):
    """Drives a server with one thread and gives what wrk says of it."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "--latency"]
    command += ["-s", script] if script else []
    ran = subprocess.run([*command, url], capture_output=True, text=True)
    if ran.returncode != 0:
        raise Failed(f"wrk {url}: {ran.stdout}{ran.stderr}")
    return wrk_said(ran.stdout)


def wrk_said(text):
    """The figures in the output of wrk: latencies in milliseconds, `rate` in requests/s."""
    requests = re.search(r"^\s+(\d+) requests in ", text, re.M)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    p50 = re.search(r"^\s+50%\s+(\S+)", text, re.M)
    p99 = re.search(r"^\s+99%\s+(\S+)", text, re.M)
    if not (requests and rate and p50 and p99):
        raise Failed(f"wrk said what is not understood:\n{text}")
    other = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    return {
        "requests": int(requests.group(1)),
        "rate": float(rate.group(1)),
        "p50": milliseconds(p50.group(1)),
        "p99": milliseconds(p99.group(1)),
        "other": int(other.group(1)) if other else 0,
        "broken": sum(map(int, broken.groups())) if broken else 0,
    }


def milliseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * MILLISECONDS[unit]


def timetable(args, running, rate, seconds, path="/", connections=CONNECTIONS):
    """Requests at a fixed rate. Latencies count from the moment when each was due."""
    command = [built(args, "bench-load"), running.address, f"{rate:.0f}", str(connections), str(seconds), path]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode != 0:
        raise Failed(f"bench-load: {ran.stderr}")
    return {"rate": rate, **json.loads(ran.stdout)}


def observed(running, drive):
    """What a client says, and what the server took for each request meanwhile: CPU time in µs, context
    switches and page faults. Both count all threads of the server."""
    before = running.usage()
    result = drive()
    used = [after - start for after, start in zip(running.usage(), before)]
    each = [figure / max(1, result["requests"]) for figure in used]
    return {**result, "cpu": each[0] * 1e6, "switches": each[1], "faults": each[2]}


def sound(results, what):
    """Every request was answered well, or the figures are worth nothing."""
    other = sum(result["other"] for result in results)
    broken = sum(result["broken"] for result in results)
    if other or broken:
        raise Failed(f"{what}: {other} answers not 2xx, {broken} broken")
