#!/usr/bin/env python3
"""What servers lose when they are stopped or reloaded, by `host drain-test`: the tables of docs/drain-test.md.

Each server is stopped in the way that its own documentation calls graceful, with a configuration as it would have in
production: evidence/servers. nginx and HAProxy stand in front of a host that nobody stops. A server that is not
installed is left out, with a sentence. A server more is a function with `@way` below.
"""

import argparse
import collections
import contextlib
import datetime
import getpass
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SERVERS = ROOT / "evidence" / "servers"
GUESTS = ROOT / "target" / "guests"
PAGE = ROOT / "docs" / "drain-test.md"
BEGIN, END = "<!-- written by evidence/run.py -->", "<!-- end of what evidence/run.py writes -->"

# How each row asks, beside what stops the server.
LOAD = ["--pause", "2ms", "--upload-path", "/count", "--stream-path", "/stream?n=20&ms=5&bytes=1024"]
# A reload never refuses, so there is an end to it. nginx and HAProxy need some milliseconds.
RELOAD = ["--after", "2s"]
HTTP1 = ["h1-kept", "h1-fresh", "h1-pipelined", "h1-upload", "h1-stream"]
HTTP2 = ["h2-kept", "h2-fresh"]
PATIENCE = 60.0

WAYS = []


class Failed(Exception):
    """A sentence for the person at the terminal."""


def say(*words):
    print("evidence:", *words, flush=True)


def way(name, needs=None, http2=True):
    """A row of the table: a function that has its server ready and gives what stops it."""

    def add(function):
        WAYS.append((name, needs, http2, function))
        return function

    return add


class Place:
    """A folder, ports and processes for one row. Leaving the `with` block ends them all."""

    def __init__(self, program):
        self.program = program
        self.ports = dict(zip(("PLAIN", "TLS", "BEHIND", "BEHIND_TLS"), free_ports(4)))
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        self.folder = pathlib.Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="evidence-")))
        certificate(self.folder)
        return self

    def __exit__(self, *_):
        self.stack.close()

    def fill(self, name, **more):
        """A file of evidence/servers, with what stands between `@`, in the folder."""
        text = (SERVERS / name).read_text()
        values = {"FOLDER": self.folder, "GUESTS": GUESTS, "USER": getpass.getuser(), **self.ports, **more}
        for key, value in values.items():
            text = text.replace(f"@{key}@", str(value))
        path = self.folder / name
        path.write_text(text)
        return path

    def start(self, command, port):
        """A process until the row's end, once it accepts on this port."""
        log = (self.folder / "log").open("ab")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.stack.callback(end, process)
        until = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return process
            time.sleep(0.02)
        raise Failed(f"{' '.join(map(str, command))} does not start:\n{(self.folder / 'log').read_text()}")

    def host(self, **ports):
        """The command of a host with the components of the table, and a control socket."""
        shutil.copy(GUESTS / "hello_p2.wasm", self.folder / "hello.wasm")
        manifest = self.fill("host.toml", **ports)
        cache = ROOT / "target" / "bench-cache"
        return [self.program, "serve", manifest, "--cache-dir", cache, "--control", self.folder / "control.sock"]

    def behind(self):
        """The application behind a proxy: a host that nobody stops."""
        port = self.ports["BEHIND"]
        self.start(self.host(PLAIN=port, TLS=self.ports["BEHIND_TLS"]), port)

    def script(self, name, text):
        """A command for `--exec`."""
        (self.folder / name).write_text(text)
        return f"sh {self.folder / name}"


def spawn(command, by="TERM"):
    return ["--spawn", *(["--signal", by] if by != "TERM" else []), "--", *map(str, command)]


@way("nginx, QUIT", needs="nginx")
def nginx_quit(place):
    place.behind()
    return spawn(["nginx", "-c", place.fill("nginx.conf")], "QUIT")


@way("nginx, reload by HUP", needs="nginx")
def nginx_reload(place):
    place.behind()
    master = place.start(["nginx", "-c", place.fill("nginx.conf")], place.ports["PLAIN"])
    return [*RELOAD, "--signal-pid", f"{master.pid}:HUP"]


def haproxy(place, option):
    place.behind()
    both = (place.folder / "cert.pem").read_text() + (place.folder / "key.pem").read_text()
    (place.folder / "both.pem").write_text(both)
    return ["haproxy", "-W", "-f", place.fill("haproxy.cfg", OPTION=option)]


ICOR = "option idle-close-on-response"


@way("HAProxy, USR1", needs="haproxy")
def haproxy_stop(place):
    return spawn(haproxy(place, ""), "USR1")


@way(f"HAProxy with `{ICOR}`, USR1", needs="haproxy", http2=False)
def haproxy_stop_waiting(place):
    return spawn(haproxy(place, ICOR), "USR1")


@way("HAProxy, reload by USR2", needs="haproxy")
def haproxy_reload(place, option=""):
    master = place.start(haproxy(place, option), place.ports["PLAIN"])
    return [*RELOAD, "--signal-pid", f"{master.pid}:USR2"]


@way(f"HAProxy with `{ICOR}`, reload by USR2", needs="haproxy", http2=False)
def haproxy_reload_waiting(place):
    return haproxy_reload(place, ICOR)


@way("Node, `server.close` at TERM", needs="node")
def node(place):
    return spawn(["node", place.fill("server.js"), place.ports["PLAIN"], place.ports["TLS"], place.folder])


@way("Go, `Shutdown` at TERM", needs="go")
def go(place):
    server = place.folder / "server"
    built = ["go", "build", "-o", server, place.fill("server.go")]
    environment = {**os.environ, "GOCACHE": str(place.folder / "go-cache"), "GO111MODULE": "off"}
    subprocess.run(built, check=True, env=environment)
    return spawn([server, place.ports["PLAIN"], place.ports["TLS"], place.folder])


@way("host, TERM")
def host_stop(place):
    return spawn(place.host())


def host_that_lives(place):
    place.start(place.host(), place.ports["PLAIN"])
    return f"{place.program} ctl --socket {place.folder / 'control.sock'}"


# The other version of the component, in its file.
TURN = """set -e; cd {folder}; {{ cmp -s hello.wasm {guests}/hello_p2.wasm && cp {guests}/hello_p3.wasm new.wasm; }} ||
cp {guests}/hello_p2.wasm new.wasm; mv new.wasm hello.wasm
"""


def turned(place, then):
    ctl = host_that_lives(place)
    text = TURN.format(folder=place.folder, guests=GUESTS)
    return [*RELOAD, "--exec", place.script(f"{then.split()[0]}.sh", f"{text}{ctl} {then}\n")]


@way("host, reload by `host ctl reload`")
def host_reload(place):
    return turned(place, "reload")


@way("host, swap by `host ctl swap`")
def host_swap(place):
    return turned(place, "swap --component hello hello.wasm")


@way("host, upgrade by `host ctl upgrade`")
def host_upgrade(place):
    ctl = host_that_lives(place)
    # Whoever has taken over last is no child of ours.
    place.stack.callback(subprocess.run, f"{ctl} stop --now --wait", shell=True, capture_output=True)
    return [*RELOAD, "--exec", f"{ctl} upgrade"]


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def certificate(folder):
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    try:
        subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    except FileNotFoundError:
        raise Failed("openssl is missing; run: sudo apt-get install -y openssl") from None


def end(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def measure(args, name, make, http2):
    """One row over one protocol: the command as a reader would type it, and the report."""
    with Place(args.program) as place:
        stopped_by = make(place)
        port = place.ports["TLS" if http2 else "PLAIN"]
        asks = [f"{'https' if http2 else 'http'}://127.0.0.1:{port}/", "--clients", str(args.clients)]
        asks += ["--stops", str(args.stops), *LOAD, *(["--http2", "--insecure"] if http2 else ["--http1"])]
        command = [args.program, "drain-test", *asks, "--json", *stopped_by]
        said = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if said.returncode not in (0, 1, 2) or not said.stdout:
            raise Failed(f"{name}: exit {said.returncode}\n{said.stderr}\n{said.stdout[:2000]}")
        report = json.loads(said.stdout)
        # A server that has to be killed is a finding, and the test goes on.
        if report["trouble"] and (len(report["stops"]) < args.stops or not killed(report)):
            raise Failed(f"{name}: not all stops were made: {report['trouble']}")
        return shown(["host", "drain-test", *asks, *stopped_by], place), report


def shown(words, place):
    """The command as somebody would type it who has the files of the row in a folder."""
    words = [str(word) for word in words]
    text = " ".join(f"'{word}'" if set(word) & set(" &?") else word for word in words)
    paths = {f"{place.folder}/": "./", str(place.folder): ".", str(place.program): "host", f"{ROOT}/": ""}
    for path, name in paths.items():
        text = text.replace(path, name)
    for port, name in ((place.ports["PLAIN"], "8080"), (place.ports["TLS"], "8443")):
        text = text.replace(str(port), name)
    return re.sub(r"--signal-pid \d+", "--signal-pid PID", text)


def killed(report):
    return sum(stop["killed"] for stop in report["stops"])


def count(phases):
    return sum(phases.values())


def lost(report, client):
    return sum(map(count, report["clients"][client]["lost"].values()))


def row(name, reports):
    """A line of the first table. A kind that was not measured has no figure."""
    cells = [name]
    for kinds, report in zip((HTTP1, HTTP2), reports):
        cells += [f"{lost(report, kind):,}" if report else "" for kind in kinds]
    reports = [report for report in reports if report]
    cells.append(f"{sum(count(by) for report in reports for by in report['total']['refused'].values()):,}")
    cells.append(f"{sum(report['total']['closed_idle'] for report in reports):,}")
    cells.append(f"{sum(report['total']['sent'] for report in reports):,}")
    ends = [
        [stop["exit_ms"] for stop in report["stops"] if not stop["killed"] and "signal" not in (stop["exit"] or "signal")]
        for report in reports
    ]
    is_stop = any(stop["refused_ms"] is not None for report in reports for stop in report["stops"])
    took = [f"{statistics.median(each) / 1000:.1f}" for each in ends if each] if is_stop else []
    cells.append(" / ".join(took) and f"{' / '.join(took)} s")
    return cells


def kinds(name, reports):
    """Lines of the second table: how each client lost what it lost."""
    for report in filter(None, reports):
        for client, tally in report["clients"].items():
            for kind, phases in tally["lost"].items():
                losses = [loss for loss in report["losses"] if (loss["client"], loss["kind"]) == (client, kind)]
                details = [loss["detail"] for loss in losses]
                often = collections.Counter(details).most_common(1)[0][0] if details else ""
                may = {0: "no", len(losses): "yes"}.get(sum(loss["repeatable"] for loss in losses), "some")
                yield [name, client, kind, often, may, f"{count(phases):,}"]


def table(head, rows, texts=1):
    lines = [head, ["---"] * texts + ["---:"] * (len(head) - texts), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def versions(program):
    asked = {"nginx": "-v", "haproxy": "-v", "node": "--version", "go": "version"}
    for command in ([program, "--version"], *([name, flag] for name, flag in asked.items() if shutil.which(name))):
        said = subprocess.run(command, capture_output=True, text=True)
        first = (said.stdout or said.stderr).splitlines()[0]
        yield first.split(" 20")[0] if command[0] == "haproxy" else first if command[0] != "node" else f"node {first}"


def text(args, rows):
    """All that stands between the two marks."""
    today = datetime.datetime.now(datetime.timezone.utc).date()
    model = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    where = f"{len(os.sched_getaffinity(0))} × {model.group(1).strip() if model else 'unknown CPU'}"
    head = ["server and stop", *HTTP1, *HTTP2, "refused", "closed idle", "sent", "ended after"]
    first = table(head, [row(name, reports) for name, _, reports in rows])
    losses = [line for name, _, reports in rows for line in kinds(name, reports)]
    second = table(["server and stop", "client", "kind", "most often", "may be repeated", "lost"], losses, 5)
    commands = "\n".join(f"# {name}\n" + "\n".join(typed) for name, typed, _ in rows)
    deaf = [(name, sum(killed(report) for report in reports if report)) for name, _, reports in rows]
    deaf = ", ".join(f"{name}: {times}" for name, times in deaf if times)
    deaf = f"\n\nStops at which the server had not ended after 70 s, and was killed: {deaf}." if deaf else ""
    used = "; ".join(f"`{version}`" for version in versions(args.program))
    return f"""{today}, {where}, Linux {os.uname().release}, load {os.getloadavg()[0]:.2f} after the run; {used}.
{args.stops} stops over HTTP/1 and {args.stops} over HTTP/2 for each row, {args.clients} clients of each kind;
`make evidence EVIDENCE=--write` makes it again.

Lost requests, by the kind of client:

{first}{deaf}

How they were lost:

{second if losses else "Nothing was lost."}

Each row by these commands, with the files of [evidence/servers](../evidence/servers):

<!-- not run: each takes a server of evidence/servers -->
```sh
{commands}
```"""


def write(between):
    page = PAGE.read_text()
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise Failed(f"{PAGE} lacks its two marks: {BEGIN} and {END}")
    before, rest = page.split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{between}\n{END}{rest.split(END)[1]}")
    say(f"written into {PAGE}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stops", type=int, default=20, help="of each row and protocol (20)")
    parser.add_argument("--clients", type=int, default=8, help="of each kind (8)")
    parser.add_argument("--only", metavar="WORD", help="rows with this word in their name")
    parser.add_argument("--profile", default="release", help="the cargo profile of the host (release)")
    parser.add_argument("--write", action="store_true", help="put it into docs/drain-test.md")
    args = parser.parse_args()
    args.program = ROOT / "target" / args.profile / "host"
    if not args.program.exists():
        raise Failed(f"{args.program} is missing; `make evidence` builds it")
    if args.write and args.only:
        raise Failed("--write takes all rows")
    return args


def main():
    args = arguments()
    rows = []
    for name, needs, http2, make in WAYS:
        if args.only and args.only not in name:
            continue
        if needs and not shutil.which(needs):
            say(f"no {needs} is installed, so there is no row for: {name}")
            continue
        measured = [measure(args, name, make, False), measure(args, name, make, True) if http2 else None]
        typed = [each[0] for each in measured if each]
        reports = [each and each[1] for each in measured]
        rows.append((name, typed, reports))
        total = sum(report["lost"] for report in reports if report)
        say(f"{name}: {total} lost of {sum(report['total']['sent'] for report in reports if report)}")
    between = text(args, rows)
    print(between)
    if args.write:
        write(between)


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"evidence: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
