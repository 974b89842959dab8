"""The servers under test: how each is started, what it has used so far, and how it is stopped."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request

from common import CACHE, GUESTS, Failed, built, say, version_of

# The first start of a large guest compiles it.
START_PATIENCE = 180.0
STOP_PATIENCE = 15.0
# With what stands behind the address, because a line may be written in pieces.
OURS = r"ready addr=(\S+)\s"
HEALTH = r"health=([0-9.:]+)"
DASHBOARD = r"dashboard=([0-9.:]+)"
THEIRS = r"Serving HTTP on http://([^/\s]+)/"
SECONDS_A_TICK = 1 / os.sysconf("SC_CLK_TCK")

# As `wasmtime serve` reuses instances of 0.3 by default, where it has more than that: 128.
REUSE = {"0.2": ["--reuse", "1000"], "0.3": ["--reuse", "1000", "--reuse-concurrency", "16"]}
# What `wasmtime serve` may need for a guest, tried in this order until it answers: Rust's std
# imports more than its default world has.
WASMTIME_FLAGS = [[], ["-Scli"], ["-Scli,p3"], ["-Scli,p3", "-Wcomponent-model-async"]]
# Guests with an engine for their language inside, if they were built.
BIG = {"JavaScript": "hello_js", "Python": "hello_py"}


class Running:
    """A started server. Leaving the `with` block stops it."""

    def __init__(self, command, address=OURS):
        self.command, self.pattern = [str(word) for word in command], re.compile(address)
        self.log = tempfile.TemporaryFile(mode="w+b")
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT
        )

    def __enter__(self):
        try:
            self.address = self._ready()
        except BaseException:
            self.stop()
            raise
        self.start = time.monotonic() - self.began
        self.url = f"http://{self.address}"
        return self

    def __exit__(self, *_):
        self.stop()

    def _ready(self):
        while time.monotonic() < self.began + START_PATIENCE:
            if found := self.pattern.search(self.said()):
                return found.group(1)
            if self.process.poll() is not None:
                break
            time.sleep(0.0005)
        raise Failed(f"{' '.join(self.command)} does not start:\n{self.said()}")

    def said(self):
        """All that it has written so far. By its own position: the server writes at the other one."""
        log = self.log.fileno()
        return os.pread(log, os.fstat(log).st_size, 0).decode(errors="replace")

    def answer(self, path="/"):
        with urllib.request.urlopen(self.url + path, timeout=START_PATIENCE) as answer:
            return answer.read()

    def usage(self):
        """What it has used so far: seconds of CPU time, context switches, page faults."""
        return usage_of(self.process.pid)

    def peak_memory(self):
        """The most memory that was resident at once, in bytes."""
        return kilobytes_of(self.process.pid, "VmHWM") * 1024

    def resident(self):
        """The memory that is resident now, in bytes."""
        return kilobytes_of(self.process.pid, "VmRSS") * 1024

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.last_words = self.said()
        self.log.close()


def usage_of(pid):
    """Seconds of CPU time, context switches and page faults of a process, all its threads together."""
    proc = pathlib.Path(f"/proc/{pid}")
    cpu, faults = stat((proc / "stat").read_text())
    return cpu, sum(map(switches_of, proc.glob("task/*"))), faults


def kilobytes_of(pid, name):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+) kB", status).group(1))


def stat(text):
    """Seconds of CPU time and page faults in /proc/PID/stat; its second field may hold anything."""
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * SECONDS_A_TICK, int(fields[7]) + int(fields[9])


def switches_of(task):
    """The context switches of one thread, none if it has just ended."""
    try:
        return switches((task / "status").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return 0


def switches(text):
    return sum(map(int, re.findall(r"ctxt_switches:\s+(\d+)", text)))


class Host(Running):
    """A host with a control socket: of a component, by its path, or of a manifest, by its text."""

    def __init__(self, args, app, *flags):
        self.folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(self.folder.name)
        if isinstance(app, str):
            (folder / "host.toml").write_text(app)
            app = folder / "host.toml"
        self.program, self.control = built(args, "host"), folder / "control.sock"
        super().__init__(serve(args, app, "--control", self.control, *flags))

    def stop(self):
        super().stop()
        self.folder.cleanup()

    def ctl(self, *words):
        command = [self.program, "ctl", "--socket", self.control, *words]
        said = subprocess.run(command, capture_output=True, text=True, timeout=START_PATIENCE)
        if said.returncode != 0:
            raise Failed(f"host ctl {' '.join(map(str, words))}: {said.stderr}")
        return said.stdout

    def status(self):
        """What `host ctl status` says."""
        return json.loads(self.ctl("--json", "status"))


def serve(args, app, *flags):
    """The command of a host; it finds what it has compiled before, unless a flag says otherwise."""
    cache = [] if "--no-cache" in flags else ["--cache-dir", CACHE]
    return [built(args, "host"), "serve", app, "--addr", "127.0.0.1:0", *cache, *flags]


class Server:
    """A server under test, and how to start it."""

    def __init__(self, name, command, address=OURS):
        self.name, self.command, self.address = name, command, address

    def start(self):
        return Running(self.command, self.address)


class Observed:
    """The same server with an access log in a file, its metrics read once a second, its dashboard open."""

    def __init__(self, server):
        self.server = server

    @contextlib.contextmanager
    def start(self):
        with tempfile.NamedTemporaryFile(suffix=".log") as log:
            flags = ["--access-log", log.name]
            flags += ["--health-addr", "127.0.0.1:0", "--dashboard-addr", "127.0.0.1:0"]
            with Running([*self.server.command, *flags]) as running:
                metrics, dashboard = (
                    re.search(pattern, running.said()).group(1) for pattern in (HEALTH, DASHBOARD)
                )
                ended = threading.Event()
                readers = [
                    threading.Thread(target=scrape, args=(f"http://{metrics}/metrics", ended)),
                    threading.Thread(target=follow, args=(f"http://{dashboard}/events", ended)),
                ]
                for reader in readers:
                    reader.start()
                try:
                    yield running
                finally:
                    ended.set()
                    for reader in readers:
                        reader.join()
                if os.stat(log.name).st_size == 0:
                    raise Failed("the access log is empty")


def scrape(url, ended):
    """As Prometheus does, more often."""
    while not ended.wait(1):
        with urllib.request.urlopen(url, timeout=START_PATIENCE) as page:
            page.read()


def follow(url, ended):
    """As a browser with the dashboard does: it is told something once a second."""
    with urllib.request.urlopen(url, timeout=START_PATIENCE) as events:
        while not ended.is_set() and events.readline():
            pass


def guest(name):
    path = GUESTS / f"{name}.wasm"
    if not path.exists():
        raise Failed(f"{path} is missing; `make guests` builds it")
    return path


def hello(kind):
    return guest(f"hello_p{kind[-1]}")


def native(args):
    return Server("native hyper", [built(args, "bench-native"), "127.0.0.1:0"])


def small(args):
    """All that serve the small guests, native first."""
    found = [native(args)]
    for kind in ("0.2", "0.3"):
        command = serve(args, hello(kind), "--control", "off")
        found.append(Server(f"host {kind}, fresh", command))
        found.append(Server(f"host {kind}, reuse", [*command, *REUSE[kind]]))
    found += wasmtime_serve("0.2, fresh", hello("0.2"))
    found += wasmtime_serve("0.3, reuse", hello("0.3"))
    return found


def big(args):
    """All that serve a large guest, for those that were built."""
    found = []
    for language, name in BIG.items():
        if not (GUESTS / f"{name}.wasm").exists():
            say(f"no {name}.wasm, so no row for {language}")
            continue
        found.append(Server(f"host, {language}", serve(args, guest(name), "--control", "off")))
        found += wasmtime_serve(language, guest(name))
    return found


def wasmtime():
    return os.environ.get("WASMTIME") or shutil.which("wasmtime")


def wasmtime_version():
    if program := wasmtime():
        return version_of(program)
    say("no `wasmtime` on the PATH and no WASMTIME=PATH, so it is left out; to have it:")
    say("  cargo install wasmtime-cli --version 48.0.8 --locked")
    return "without wasmtime serve"


def wasmtime_serve(name, path):
    """`wasmtime serve` with its defaults and as few flags as the guest needs: one server, or none where it is
    not there or serves that guest with no flags."""
    program, why = wasmtime(), None
    if program is None:
        return []
    for flags in WASMTIME_FLAGS:
        command = [program, "serve", *flags, "--addr", "127.0.0.1:0", path]
        server = Server(f"wasmtime serve {name}", command, THEIRS)
        try:
            with server.start() as running:
                running.answer()
                return [server]
        except (Failed, OSError) as failure:
            why = failure
    say(f"wasmtime serve is left out for {path.name}, which it does not serve: {why}")
    return []
