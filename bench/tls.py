"""Over TLS: the host beside nginx, with the same certificate, in the same run."""

import pathlib
import re
import socket
import subprocess
import tempfile
import time

import idle
import servers
from clients import observed, wrk, wrk_said
from common import CONNECTIONS, Failed, in_turn, middle, need, table

# What both send: TLS 1.3 with X25519, a key of the curve P-256.
CERTIFICATE = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
CERTIFICATE += ["-days", "30", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]

# HTTP/2: as many streams at once as HTTP/1 has connections.
H2_CONNECTIONS, STREAMS = 8, 8
assert H2_CONNECTIONS * STREAMS == CONNECTIONS

# What an idle connection speaks, and whether over TLS.
IDLE = [("plain", "http/1.1", False), ("over TLS", "http/1.1", True), ("HTTP/2 over TLS", "h2", True)]

BODY = "hello, world"
NGINX = """
daemon off;
worker_processes auto;
worker_rlimit_nofile {descriptors};
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections {descriptors}; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    keepalive_timeout 600s;
    {paths}
    server {{
        listen {plain};
        listen {secure} ssl http2;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
        location / {{ default_type text/plain; return 200 "{body}"; }}
    }}
}}
"""


class Nginx(servers.Running):
    """nginx, which says nothing when it is ready."""

    def __init__(self, folder, certificate, key):
        self.plain, self.secure = free_address(), free_address()
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
        file = folder / "nginx.conf"
        text = NGINX.format(
            folder=folder,
            paths=paths,
            plain=self.plain,
            secure=self.secure,
            certificate=certificate,
            key=key,
            body=BODY,
            descriptors=idle.DESCRIPTORS,
        )
        file.write_text(text)
        super().__init__(["nginx", "-c", file, "-p", folder])

    def _ready(self):
        host, _, port = self.secure.rpartition(":")
        while time.monotonic() < self.began + servers.START_PATIENCE and self.process.poll() is None:
            try:
                socket.create_connection((host, int(port))).close()
                return self.plain
            except ConnectionRefusedError:
                time.sleep(0.01)
        raise Failed(f"nginx does not start:\n{self.said()}")

    def workers(self):
        """They do all of it."""
        pid = self.process.pid
        return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()

    def usage(self):
        return tuple(map(sum, zip(*map(servers.usage_of, self.workers()))))

    def resident(self):
        return sum(servers.kilobytes_of(pid, "VmRSS") for pid in self.workers()) * 1024


class Host(servers.Running):
    """The host, with a listener for each."""

    def __init__(self, args, certificate, key):
        flags = ["--tls-addr", "127.0.0.1:0", "--tls-cert", certificate, "--tls-key", key, "--control", "off"]
        super().__init__(servers.serve(args, servers.hello("0.2"), *flags, "--max-connections", "11000"))

    def _ready(self):
        first = super()._ready()
        ready = re.search(r"^ready addr=(\S+) addr=(\S+) ", self.said(), re.M)
        self.plain, self.secure = ready.groups()
        return first


def free_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def h2load(url, seconds):
    """Drives a server over HTTP/2 and gives what h2load says of it."""
    command = ["h2load", "-t1", f"-c{H2_CONNECTIONS}", f"-m{STREAMS}", f"-D{seconds}s", url]
    ran = subprocess.run(command, capture_output=True, text=True)
    return h2load_said(ran.stdout + ran.stderr)


def h2load_said(text):
    rate = re.search(r"finished in [\d.]+\w+, ([\d.]+) req/s", text)
    done = re.search(r"requests: \d+ total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed", text)
    codes = re.search(r"status codes: (\d+) 2xx", text)
    if not (rate and done and codes):
        raise Failed(f"h2load said what is not understood:\n{text}")
    good = int(codes.group(1))
    return {
        "requests": int(done.group(1)),
        "rate": float(rate.group(1)),
        "other": int(done.group(1)) - good,
        "broken": int(done.group(2)),
    }


def handshakes(url, seconds):
    """A connection for each request, each with a whole handshake: wrk resumes nothing."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", "--latency"]
    ran = subprocess.run([*command, "-H", "Connection: close", url], capture_output=True, text=True)
    if ran.returncode != 0:
        raise Failed(f"wrk {url}: {ran.stdout}{ran.stderr}")
    return wrk_said(ran.stdout)


def loads(running, args):
    """Each load on one server, one after the other."""
    plain, secure = f"http://{running.plain}/", f"https://{running.secure}/"
    ways = {
        "plain": lambda: wrk(plain, args.seconds),
        "http/1.1": lambda: wrk(secure, args.seconds),
        "h2": lambda: h2load(secure, args.seconds),
        "connections": lambda: handshakes(secure, args.seconds),
    }
    wrk(secure, args.warm)
    return {name: observed(running, drive) for name, drive in ways.items()}


def memory(start, certificate):
    """KiB of an idle connection, after one request. Each kind has a server of its own: memory that others have given
    back would be used again."""
    taken = {}
    for name, protocol, is_tls in IDLE:
        with start() as running:
            address = running.secure if is_tls else running.plain
            context = idle.trusting(certificate, protocol) if is_tls else None
            taken[name] = idle.each(running, address, protocol, context) / 1024
    return taken


def measure(args, raw):
    """The tables, and what was not answered or not well."""
    need("nginx", "nginx-light")
    need("h2load", "nghttp2-client")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        certificate, key = folder / "cert.pem", folder / "key.pem"
        made = subprocess.run([*CERTIFICATE, "-keyout", key, "-out", certificate], capture_output=True, text=True)
        if made.returncode != 0:
            raise Failed(f"openssl makes no certificate: {made.stderr}")
        # Its workers are of another user, who has to come in.
        folder.chmod(0o755)
        starts = {
            "host 0.2, fresh": lambda: Host(args, certificate, key),
            "nginx": lambda: Nginx(folder, certificate, key),
        }

        def driven(start):
            with start() as running:
                return loads(running, args)

        results = in_turn({name: lambda s=start: driven(s) for name, start in starts.items()}, args, raw, "tls")
        once = type(args)(**{**vars(args), "rounds": 1})
        kept = in_turn({name: lambda s=start: memory(s, certificate) for name, start in starts.items()}, once, raw, "tls idle")
    return told(results, kept)


def told(results, kept):
    rows, wrong = [], []
    for name, each in results.items():
        of = {way: [result[way] for result in each] for way in each[0]}
        rows.append(
            [
                name,
                f"{middle(of['connections'], 'rate'):,.0f}",
                f"{middle(of['connections'], 'cpu'):,.0f}",
                *(f"{middle(of[way], 'rate'):,.0f}" for way in ("plain", "http/1.1", "h2")),
                *(f"{middle(of[way], 'cpu'):.1f}" for way in ("plain", "http/1.1", "h2")),
            ]
        )
        bad = sum(result["other"] + result["broken"] for way in of.values() for result in way)
        if bad and name != "nginx":
            wrong.append(f"{name}, over TLS: {bad} answers broken or not 2xx")
    head = ["server", "new connections/s", "CPU µs each", "requests/s, plain", "over TLS", "HTTP/2 over TLS"]
    head += ["CPU µs/request, plain", "over TLS", "HTTP/2 over TLS"]
    memory_rows = [[name, *(f"{kib:.1f}" for kib in each[0].values())] for name, each in kept.items()]
    memory_head = [f"KiB of each of {idle.COUNT:,} idle connections", "plain", "over TLS", "HTTP/2 over TLS"]
    return table(head, rows) + "\n\n" + table(memory_head, memory_rows), {}, wrong
