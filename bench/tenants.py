#!/usr/bin/env python3
"""Many tenants in one host: thousands of components that differ, each with its file of the manifest.

Measures the start from a filled cache, what is resident then, the first request of tenants whose code is not mapped,
requests after that, and the reload of one tenant: its component is another one, and the host is told.
"""

import hashlib
import http.client
import pathlib
import random
import shutil
import statistics
import sys
import time

import common
import servers
from common import Failed, say

# As long as what it stands in the place of.
BODY = b"hello world\n"
SIZE = 30 * 1024
FOLDER = common.BUILT / "bench-tenants"


def component(number, version, template):
    """A component that answers with its number and version, with bytes behind it that nobody reads up to the size."""
    answer = f"{number:05} {version:05}\n".encode()
    if template.count(BODY) != 1:
        raise Failed(f"hello_p2.wasm has {BODY} {template.count(BODY)} times")
    name = b"tenant"
    filler = random.Random(f"{number} {version}").randbytes(max(SIZE - len(template) - 16, 0))
    payload = bytes([len(name)]) + name + filler
    return template.replace(BODY, answer) + b"\0" + leb(len(payload)) + payload, answer


def leb(number):
    out = bytearray()
    while True:
        number, low = number >> 7, number & 0x7F
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def make(tenants, code_memory, folder=FOLDER):
    """The folder that a host serves: host.toml, tenants/*.toml, components/*.wasm."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "tenants").mkdir(parents=True)
    (folder / "components").mkdir()
    template = (common.GUESTS / "hello_p2.wasm").read_bytes()
    total = f'code-memory = "{code_memory}"\n' if code_memory else ""
    (folder / "host.toml").write_text(
        f'include = "tenants/*.toml"\n\n[total]\ninstances = 64\n{total}'
    )
    for number in range(tenants):
        name = f"t{number:05}"
        (folder / "components" / f"{name}.wasm").write_bytes(component(number, 0, template)[0])
        (folder / "tenants" / f"{name}.toml").write_text(
            f'[component.{name}]\nsource = "../components/{name}.wasm"\n\n'
            f'[[route]]\npath = "/{name}"\ncomponent = "{name}"\n'
        )
    return folder / "host.toml"


if __name__ == "__main__":
    print(make(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None))
