#!/usr/bin/env python3
"""Writes projects as `host new` would, builds each, and runs its own tests.

    host/templates/try.py                     all templates
    host/templates/try.py rust/app-0.3 js     this one, and all of JavaScript
    host/templates/try.py --into DIR …        keep what was written in DIR

WASM_HOST is the program that the projects' tests start; target/release/host without it. A language whose
tools or registry cannot be had is left out, with a sentence. Exit code 1 if a project failed.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAME = "my-guest"
ALLOWED = 900  # seconds for each command


def templates(wanted: list[str]) -> list[str]:
    found = sorted(str(it.parent.relative_to(HERE)) for it in HERE.glob("*/*/template.toml"))
    chosen = [it for it in found if not wanted or it in wanted or it.split("/")[0] in wanted]
    for word in wanted:
        if not any(it == word or it.split("/")[0] == word for it in found):
            sys.exit(f"try: there is no template {word}: it is one of {', '.join(found)}")
    return chosen


def files(folder: Path):
    return sorted(it for it in folder.rglob("*") if it.is_file() and it.name != "template.toml")


def write(template: str, into: Path) -> None:
    """The rules of `host new`: the folders that template.toml names, with the names put in."""
    about = tomllib.loads((HERE / template / "template.toml").read_text())
    folders = [HERE / template, *(HERE / it for it in about["also"])]
    pairs = [(it, it.relative_to(folder)) for folder in folders for it in files(folder)]
    bundle = HERE / about["wit"]
    pairs += [(it, Path("wit") / it.relative_to(bundle)) for it in files(bundle)]
    for source, relative in pairs:
        target = into / filled(str(relative)).removesuffix(".tmpl")
        if target.exists():
            sys.exit(f"try: {template} writes {relative} twice")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(filled(source.read_text()))
        shutil.copymode(source, target)


def filled(text: str) -> str:
    return text.replace("{{name}}", NAME).replace("{{name_snake}}", NAME.replace("-", "_"))


def answers(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def lacks_rust() -> str | None:
    if not answers("cargo", "--version"):
        return "there is no cargo"
    root = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True).stdout.strip()
    if not Path(root, "lib/rustlib/wasm32-wasip2").exists():
        return "rustc has no target wasm32-wasip2 (rustup target add wasm32-wasip2)"
    return None


def lacks_js() -> str | None:
    if not answers("npm", "--version"):
        return "there is no npm"
    if not answers("npm", "ping", "--fetch-retries=0"):
        return "npm cannot reach its registry"
    return None


def lacks_python() -> str | None:
    with tempfile.TemporaryDirectory() as folder:
        if not answers("python3", "-m", "venv", folder):
            return "python3 makes no venv"
        download = ["download", "--quiet", "--no-deps", "--retries=1", "--timeout=30", "--dest", folder]
        if not answers(f"{folder}/bin/pip", *download, "componentize-py==0.25.1"):
            return "pip cannot have componentize-py 0.25.1 from its registry"
    return None


def lacks_c() -> str | None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "a.c")
        source.write_text("#include <stdio.h>\nint main(void) { return puts(\"\"); }\n")
        if not answers("clang", "--target=wasm32-wasi", str(source), "-o", f"{folder}/a.wasm"):
            return "clang links no program for wasm32-wasi (apt-get install clang lld wasi-libc libclang-rt-dev-wasm32)"
    root = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True).stdout.strip() \
        if shutil.which("rustc") else "/nowhere"
    if not shutil.which("wasm-component-ld") and not [*Path(root).glob("lib/rustlib/*/bin/wasm-component-ld")]:
        return "there is no wasm-component-ld, and no Rust that brings it (cargo install wasm-component-ld)"
    return None


LANGUAGES = {
    "rust": (lacks_rust, [["cargo", "test"]]),
    "js": (lacks_js, [["npm", "install", "--no-audit", "--no-fund"], ["npm", "test"]]),
    "python": (lacks_python, [["make", "test"]]),
    "c": (lacks_c, [["make", "test"]]),
}


def run(template: str, folder: Path) -> bool:
    write(template, folder)
    began = time.monotonic()
    for command in LANGUAGES[template.split("/")[0]][1]:
        # Its tests find no variable of this repository's own builds.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("CARGO")}
        environment["WASM_HOST"] = os.environ.get("WASM_HOST", str(HERE.parents[1] / "target/release/host"))
        if "CARGO_HOME" in os.environ:
            environment["CARGO_HOME"] = os.environ["CARGO_HOME"]
        try:
            code = subprocess.run(command, cwd=folder, env=environment, timeout=ALLOWED).returncode
        except subprocess.TimeoutExpired:
            code = f"none after {ALLOWED} s"
        if code != 0:
            print(f"try: {template}: failed: {' '.join(command)}: exit code {code}", flush=True)
            return False
    manifest = tomllib.loads((folder / "dev.toml").read_text())
    size = (folder / manifest["component"]).stat().st_size
    print(f"try: {template}: passed in {time.monotonic() - began:.0f} s, {size:,} bytes", flush=True)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path)
    parser.add_argument("template", nargs="*")
    arguments = parser.parse_args()
    lacking: dict[str, str | None] = {}
    failed, passed, skipped = 0, 0, 0
    with tempfile.TemporaryDirectory(prefix="host-new-") as scratch:
        root = arguments.into or Path(scratch)
        for template in templates(arguments.template):
            language = template.split("/")[0]
            if language not in lacking:
                lacking[language] = LANGUAGES[language][0]()
            if lacking[language]:
                print(f"try: {template}: left out: {lacking[language]}", flush=True)
                skipped += 1
            elif run(template, root / template.replace("/", "-")):
                passed += 1
            else:
                failed += 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
