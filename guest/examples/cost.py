#!/usr/bin/env python3
"""What a plugin costs: CPU time of the host for a request through it and without it, in turns, in one run.

    guest/examples/cost.py HOST [REQUESTS]

HOST is a built host, for example target/dist/host; the guests are those in target/guests. It takes h2load and openssl.
CPU time and not time, because that is the same on a machine that others use too.
"""
import base64, json, re, signal, subprocess, sys, tempfile, time
from pathlib import Path

HOST = sys.argv[1]
REQUESTS = int(sys.argv[2]) if len(sys.argv) > 2 else 400
GUESTS = Path(__file__).resolve().parents[2] / "target/guests"
ROUNDS = 4


def run(*command):
    return subprocess.run(command, check=True, capture_output=True).stdout


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Key:
    """Signs tokens by openssl."""

    def __init__(self, folder, alg, *options):
        self.alg, self.file = alg, f"{folder}/{alg}"
        run("openssl", "genpkey", "-out", self.file, "-algorithm", *options)
        der = run("openssl", "pkey", "-in", self.file, "-pubout", "-outform", "DER")
        self.jwk = {
            "RS256": lambda: {"kty": "RSA", "n": b64(der[-261:-5]), "e": "AQAB"},
            "ES256": lambda: {"kty": "EC", "crv": "P-256", "x": b64(der[-64:-32]), "y": b64(der[-32:])},
            "EdDSA": lambda: {"kty": "OKP", "crv": "Ed25519", "x": b64(der[-32:])},
        }[alg]()

    def token(self):
        claims = {"iss": "i", "aud": "a", "sub": "ann", "exp": int(time.time()) + 36000}
        signed = ".".join(b64(json.dumps(part).encode()) for part in ({"alg": self.alg}, claims))
        Path(self.file + ".in").write_text(signed)
        if self.alg == "EdDSA":
            signature = run("openssl", "pkeyutl", "-sign", "-rawin", "-inkey", self.file, "-in", self.file + ".in")
        else:
            signature = run("openssl", "dgst", "-sha256", "-sign", self.file, self.file + ".in")
        if self.alg == "ES256":
            length = signature[3]
            r, s = signature[4:4 + length], signature[6 + length:]
            signature = b"".join(n.lstrip(b"\0").rjust(32, b"\0") for n in (r, s))
        return f"Authorization: Bearer {signed}.{b64(signature)}"


def plugins(folder):
    """Name, guest, lines of its table, headers of the request."""
    kv = 'grants.keyvalue.{} = "main"'
    schema = '{"type":"object","required":["name"],"properties":{"name":{"type":"string"}}}'
    yield "apikey, refused", "apikey_p3", kv.format("keys"), ["x-api-key: nobody"]
    yield "cors", "cors_p3", 'config.origins = "https://a.example"', ["Origin: https://a.example"]
    yield "headers", "headers_p3", "", []
    yield "ipallow", "ipallow_p3", 'config.deny = "10.0.0.0/8 2001:db8::/32"', []
    for alg, *options in (
        ("RS256", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
        ("ES256", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
        ("EdDSA", "ED25519"),
    ):
        key = Key(folder, alg, *options)
        config = "config = { issuer = \"i\", audience = \"a\", jwks = '" + json.dumps({"keys": [key.jwk]}) + "' }"
        yield f"jwt, {alg}", "jwt_p3", config, [key.token()]
    yield "ratelimit", "ratelimit_p3", 'config.capacity = "1000000"\n' + kv.format("ratelimit"), []
    yield "rewrite", "rewrite_p3", 'config.request-set = "x-a: 1"\nconfig.response-set = "x-b: 2"', []
    yield "validate", "validate_p3", f"config.schema = '{schema}'", ["Content-Type: application/json"]


def manifest(all_plugins):
    text = '[listen]\naddr = ["127.0.0.1:0"]\ncontrol = "off"\n[keyvalue.main]\nbackend = "memory"\n'
    text += f'[component.app]\nsource = "{GUESTS}/greet_p3.wasm"\n'
    text += '[[route]]\npath = "/plain"\ncomponent = "app"\n'
    for number, (_, guest, lines, _) in enumerate(all_plugins):
        text += f'[component.p{number}]\nsource = "{GUESTS}/{guest}.wasm"\n{lines}\n'
        text += f'[[route]]\npath = "/p{number}"\ncomponent = "app"\nchain = ["p{number}"]\n'
    return text


def cpu(pid):
    """Seconds on a core of all its threads, which live as long as it does."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def measure(pid, address, path, headers, body):
    before = cpu(pid)
    command = ["h2load", "--h1", "-c1", f"-n{REQUESTS}", f"http://{address}{path}"]
    for header in headers:
        command += ["-H", header]
    if headers and headers[0].startswith("Content-Type"):
        command += ["-d", body]
    found = re.search(rb"status codes: (\d+) 2xx, 0 3xx, (\d+) 4xx, (\d+) 5xx", run(*command))
    good, refused, failed = map(int, found.groups())
    # Nobody has a key: what apikey costs is the look for it.
    assert failed == 0 and (good == REQUESTS or refused == REQUESTS), found.group()
    return (cpu(pid) - before) / REQUESTS * 1e6


def main():
    with tempfile.TemporaryDirectory() as folder:
        all_plugins = list(plugins(folder))
        Path(f"{folder}/host.toml").write_text(manifest(all_plugins))
        Path(f"{folder}/body").write_text('{"name":"ann"}')
        command = [HOST, "serve", f"{folder}/host.toml"]
        host = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            address = next(m.group(1) for m in (re.match(r"ready addr=(\S+)", line) for line in host.stdout) if m)
            sums = {}
            for _ in range(ROUNDS):
                for number, (name, _, _, headers) in enumerate(all_plugins):
                    with_it = measure(host.pid, address, f"/p{number}", headers, f"{folder}/body")
                    without = measure(host.pid, address, "/plain", headers, f"{folder}/body")
                    sums.setdefault(name, []).append((with_it, without))
        finally:
            host.send_signal(signal.SIGTERM)
            host.wait(30)
    print("| plugin | size | CPU time, µs | without it, µs | ratio |\n|---|---:|---:|---:|---:|")
    for name, guest, _, _ in all_plugins:
        with_it, without = (sorted(column)[ROUNDS // 2] for column in zip(*sums[name]))
        size = (GUESTS / f"{guest}.wasm").stat().st_size // 1000
        print(f"| {name} | {size:,} kB | {with_it:,.0f} | {without:,.0f} | {with_it / without:.1f} |")


main()
