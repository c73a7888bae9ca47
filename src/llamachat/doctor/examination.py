"""Every check in turn, the slow ones last."""

from __future__ import annotations

import os
from collections.abc import Iterator

from llamachat.doctor import checks, engine_check
from llamachat.doctor.checks import Finding
from llamachat.errors import LlamachatError
from llamachat.hub import hardware, local_models

LOAD_SECONDS = 0.3


def examine(*, port: int, network: bool, timeout: float) -> Iterator[Finding]:
    """`port` is the one that `serve` would use; `timeout` in seconds is the engine's for one token."""
    here = hardware.look()
    where = local_models.places()
    yield checks.check_python()
    yield checks.check_memory(here)
    yield checks.check_load(hardware.busy_cores(LOAD_SECONDS))
    yield checks.check_disk(where.folders[0])
    yield checks.check_models(where, here)
    yield checks.check_port(port)
    yield from checks.check_terminal()
    bundled = local_models.bundled_model()
    yield from engine_check.check_engine(bundled.path if bundled else None, here.gpu, os.environ, timeout)
    if network:
        yield from _network()


def _network() -> list[Finding]:
    from llamachat.hub.hub_client import Hub
    from llamachat.hub.reference import MIRROR

    try:
        hub = Hub()
    except LlamachatError as error:
        return [Finding("hub", "warning", error.message, error.hint)]
    if hub.offline:
        return checks.check_network(True, [], [])
    endpoints = list(dict.fromkeys([hub.endpoint, MIRROR]))
    return checks.check_network(False, endpoints, checks.ask_network(endpoints))
