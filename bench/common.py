"""What all benchmarks share: their flags, the wait for a quiet machine, raw rounds beside the tables, and
the tables in README.md."""

import argparse
import datetime
import json
import os
import pathlib
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
README = ROOT / "bench" / "README.md"
RESULTS = ROOT / "bench" / "results"
BUILT = ROOT / "target"
GUESTS = BUILT / "guests"
# Compiled guests: not the user's cache.
CACHE = BUILT / "bench-cache"

# The load of the last minute above which figures are not worth keeping, and how long to wait for it.
QUIET = 0.3
QUIET_PATIENCE = 600.0
# Connections of wrk, where a benchmark does not say otherwise.
CONNECTIONS = 64


class Failed(Exception):
    """A sentence for the person at the terminal."""


def enter(main):
    """Runs a benchmark; what goes wrong is a sentence."""
    try:
        main()
    except Failed as failure:
        sys.exit(f"bench: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)


def say(*words):
    print("bench:", *words, flush=True)


def arguments(doc, seconds, warm=1, parts=()):
    """The flags that every benchmark has, and for one of several `parts` the flag that picks one."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (3)")
    parser.add_argument("--seconds", type=int, default=seconds, help=f"of one ({seconds})")
    parser.add_argument("--warm", type=int, default=warm, help=f"seconds before one ({warm})")
    parser.add_argument("--write", action="store_true", help="put it into bench/README.md and bench/results")
    parser.add_argument(
        "--busy", action="store_true", help=f"do not wait for a load below {QUIET}; nothing can be written"
    )
    parser.add_argument("--profile", default="dist", help="the cargo profile that is measured (dist)")
    if parts:
        parser.add_argument("--only", choices=parts, help="one part")
    return parser


def parse(parser):
    args = parser.parse_args()
    if args.write and (args.busy or args.profile != "dist"):
        raise Failed("--write takes a quiet machine and the profile `dist`")
    if args.write and getattr(args, "only", None):
        raise Failed("--write takes all parts")
    return args


def raise_descriptors():
    """As many as may be: each connection takes one here, and one in the server."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))


def built(args, name):
    """A program of ours, of the profile that is measured."""
    path = BUILT / args.profile / name
    if not path.exists():
        raise Failed(f"{path} is missing; `make bench` builds it")
    return path


def quiet(args):
    """Waits for a quiet machine, and gives the load of its last minute."""
    until = time.monotonic() + QUIET_PATIENCE
    while (load := os.getloadavg()[0]) >= QUIET and not args.busy:
        if time.monotonic() > until:
            raise Failed(
                f"the load is still {load:.2f} after {QUIET_PATIENCE / 60:.0f} minutes; figures are written"
                f" below {QUIET}. `--busy` measures all the same, and prints only."
            )
        say(f"waits for a load below {QUIET}; it is {load:.2f}")
        time.sleep(10)
    say(f"load {load:.2f} before the run")
    return load


def machine(args, load, versions=()):
    """What the figures below it were taken on, and how."""
    model = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    today = datetime.datetime.now(datetime.timezone.utc).date()
    tools = [version_of(built(args, "host")), *versions]
    return (
        f"{today}, {len(os.sched_getaffinity(0))} × {model.group(1).strip() if model else 'unknown CPU'},"
        f" Linux {os.uname().release}, load {load:.2f} before the run; profile `{args.profile}`;"
        f" {'; '.join(f'`{tool}`' for tool in tools)}; {args.rounds} rounds, {args.seconds} s each after"
        f" {args.warm} s of warm-up."
    )


def version_of(program):
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.strip()


def revision():
    """The commit that is measured, with a `+` if the folder differs from it."""
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"], cwd=ROOT, capture_output=True, text=True
    )
    return said.stdout.strip() or "unknown"


class Raw:
    """The raw rounds of one run, a JSON object a line; `keep` puts them into bench/results."""

    def __init__(self, name, args, load):
        self.path = BUILT / "bench" / f"{name}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("")
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        self.add(part="run", at=now, load=load, revision=revision(), **vars(args))

    def add(self, **fields):
        with self.path.open("a") as file:
            file.write(json.dumps({key: rounded(value) for key, value in fields.items()}) + "\n")

    def keep(self):
        RESULTS.mkdir(exist_ok=True)
        shutil.copy(self.path, RESULTS / self.path.name)
        say(f"raw rounds: {RESULTS / self.path.name}")


def rounded(value):
    return float(f"{value:.6g}") if isinstance(value, float) else value


def in_turn(cases, args, raw, part):
    """Measures each case in each round, so that a machine that gets slower does so for all of them. Gives
    the results of each, a list of one for each round."""
    results = {name: [] for name in cases}
    for number in range(1, args.rounds + 1):
        for name, measure in cases.items():
            result = measure()
            results[name].append(result)
            raw.add(part=part, round=number, case=name, **result)
            say(f"round {number} of {args.rounds}: {part}: {name}: {told(result)}")
    return results


def told(result):
    """One measurement, for the terminal."""
    words = []
    if "rate" in result:
        words.append(f"{result['rate']:,.0f} requests/s")
    if "cpu" in result:
        words.append(f"{result['cpu']:.1f} µs CPU and {result['switches']:.2f} context switches a request")
    if "p99" in result:
        words.append(f"p99 {result['p99']:.2f} ms")
    if "took" in result:
        words.append(f"{result['took']:.1f} ms")
    return ", ".join(words)


def middle(results, what):
    return statistics.median(result[what] for result in results)


def table(head, rows):
    """A table of Markdown; all columns but the first are figures."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def write(text, name, page=README):
    """Puts the text between the two markers of a script."""
    begin, end = f"<!-- results: written by {name} -->", f"<!-- end of the results of {name} -->"
    old = page.read_text()
    if old.count(begin) != 1 or old.count(end) != 1:
        raise Failed(f"{page} lacks its two markers: {begin} and {end}")
    before, rest = old.split(begin)
    page.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}")
    say(f"written into {page}")


def need(command, package):
    """A tool of the benchmarks: installed if it is missing and may be."""
    if shutil.which(command):
        return
    if os.geteuid() != 0:
        raise Failed(f"{command} is missing; run: sudo apt-get update && sudo apt-get install -y {package}")
    say(f"installing {package}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", package]):
        subprocess.run(["apt-get", *words], check=True, env=environment)
