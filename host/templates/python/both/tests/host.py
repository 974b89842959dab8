"""Starts and stops `host` for a test. It is the program in WASM_HOST, or wasm-host, or host."""
import os
import re
import shutil
import subprocess
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]


class Host:
    def __enter__(self) -> "Host":
        program = os.environ.get("WASM_HOST") or shutil.which("wasm-host") or "host"
        # `timeout` hands signals and exit codes on, and ends a host that would go on for ever.
        command = ["timeout", "300", program, "serve", "host.toml", "--addr", "127.0.0.1:0", "--control", "off"]
        self.process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
        ready = self.process.stdout.readline()
        address = re.search(r"addr=(\S+):(\d+)", ready)
        assert address, "host is installed and says that it is ready"
        self.address = address[1], int(address[2])
        return self

    def stop(self) -> int:
        """Its exit code."""
        self.process.terminate()
        return self.process.wait()

    def __exit__(self, *_) -> None:
        if self.process.poll() is None:
            self.stop()
        self.process.stdout.close()
