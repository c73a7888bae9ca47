"""The checks that are quick: the computer, its models, the port, the network, the terminal."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llamachat.core.units import size
from llamachat.errors import LlamachatError
from llamachat.hub import estimate, hardware, local_models
from llamachat.hub.model_facts import facts_of
from llamachat.language import N_, _
from llamachat.server import backends, bind

Level = Literal["good", "warning", "bad"]
WORDS = (
    *(N_("good"), N_("warning"), N_("bad")),
    *(
        N_("memory"),
        N_("load"),
        N_("disk"),
        N_("models"),
        N_("port"),
        N_("terminal"),
        N_("locale"),
        N_("engine"),
    ),
)
"""The levels and names of findings that are said otherwise in another language."""
GIB = 1 << 30
N_CTX = 2048
"""The window that `llamachat serve` has by default."""
NEWEST_TESTED = (3, 13)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was checked, what was found, and what to do if it is not good."""

    name: str
    level: Level
    text: str
    advice: str = ""


def check_python() -> Finding:
    version = platform.python_version()
    text = _("Python {version} on {system} {machine}").format(
        version=version, system=platform.system(), machine=platform.machine()
    )
    if sys.maxsize < 1 << 32:
        return Finding(
            "python",
            "bad",
            _("{text}, 32-bit").format(text=text),
            _("Install a 64-bit Python: models need more than 4 GB."),
        )
    if sys.version_info[:2] > NEWEST_TESTED:
        advice = _("If the engine does not install or run, use Python 3.10 to 3.13.")
        return Finding(
            "python", "warning", _("{text}, newer than any tested version").format(text=text), advice
        )
    return Finding("python", "good", text)


def check_memory(here: hardware.Machine) -> Finding:
    text = _("{memory}, {free} of it free; {n_cores} cores").format(
        memory=size(here.memory), free=size(here.available), n_cores=here.n_cores
    )
    if here.memory < 3 * GIB:
        return Finding(
            "memory", "bad", text, _("Only the smallest models fit: `llamachat pull smollm2:360m`.")
        )
    if here.available < 2 * GIB:
        return Finding("memory", "warning", text, _("Close other programs before you start a model."))
    return Finding("memory", "good", text)


def check_load(busy: float) -> Finding:
    """So many cores are in use by other programs."""
    if busy < 0.6:
        return Finding("load", "good", _("the computer is quiet"))
    text = _("the computer is busy: programs use {busy:.1f} cores").format(busy=busy)
    advice = _("A model is slower beside them; `serve` computes with fewer threads meanwhile.")
    return Finding("load", "warning", text, advice)


def check_disk(folder: Path) -> Finding:
    free = hardware.free_disk(folder)
    text = _("{free} free for {folder}").format(free=size(free), folder=folder)
    if free < GIB:
        return Finding("disk", "bad", text, _("Free some space, or use `pull --folder`."))
    if free < 6 * GIB:
        return Finding("disk", "warning", text, _("An 8B model takes 5 GB."))
    return Finding("disk", "good", text)


def check_models(where: local_models.Places, here: hardware.Machine) -> Finding:
    try:
        names = [_described(model, here) for model in local_models.list_models(where)]
    except LlamachatError as error:
        return Finding("models", "bad", error.message, _("Check its permissions."))
    if names:
        return Finding("models", "good", ", ".join(names))
    if bundled := local_models.bundled_model():
        text = _("only the bundled demo, {model}, which speaks English only; more: `llamachat pull`")
        return Finding("models", "good", text.format(model=_described(bundled, here)))
    return Finding("models", "warning", _("none found"), _("Fetch one: `llamachat pull`."))


def _described(model: local_models.LocalModel, here: hardware.Machine) -> str:
    """With how many requests at once its memory allows."""
    facts = facts_of(model, N_CTX)
    if facts.problem:
        return model.name
    alone = facts.projector is not None or backends.has_own_memory()
    parallel = estimate.served(facts.need, here.available, alone=alone)[0]
    return _("{model} ({parallel} at once)").format(model=model.name, parallel=parallel)


def check_port(port: int) -> Finding:
    try:
        bind.claim("127.0.0.1", port)
    except LlamachatError as error:
        return Finding("port", "warning", error.message, error.hint)
    return Finding("port", "good", _("{port} is free").format(port=port))


def check_network(offline: bool, endpoints: Sequence[str], answers: Sequence[bool]) -> list[Finding]:
    """A finding for each endpoint; the first is the one in use, the others are alternatives."""
    if offline:
        return [Finding("hub", "warning", _("HF_HUB_OFFLINE is set"), _("Unset it to fetch models."))]
    findings = []
    for endpoint, answered in zip(endpoints, answers, strict=True):
        text = (_("{endpoint} answers") if answered else _("{endpoint} does not answer")).format(
            endpoint=endpoint
        )
        findings.append(
            Finding("hub", "good" if answered else "warning", text, "" if answered else _way(answers))
        )
    return findings


def _way(answers: Sequence[bool]) -> str:
    if answers[0]:
        return _("Not needed as long as the hub answers.")
    if any(answers[1:]):
        return _("Use the mirror: `llamachat pull --mirror`.")
    return _("Check the connection and HTTPS_PROXY; models already on disk work without it.")


def ask_network(endpoints: Sequence[str]) -> list[bool]:
    """Whether each answers, all asked at once."""
    from llamachat.hub.hub_client import Hub

    def ask(endpoint: str) -> bool:
        with Hub(endpoint) as hub:
            return hub.answers()

    with ThreadPoolExecutor(len(endpoints)) as pool:
        return list(pool.map(ask, endpoints))


def check_terminal() -> list[Finding]:
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    columns = shutil.get_terminal_size().columns
    where = (
        _("{columns} columns").format(columns=columns)
        if sys.stdout.isatty()
        else _("output goes to a file or pipe")
    )
    text = _("TERM={term}, {where}").format(term=os.environ.get("TERM", ""), where=where)
    findings = [Finding("terminal", "good", text)]
    if os.environ.get("TERM") == "dumb":
        findings = [Finding("terminal", "warning", _("TERM is dumb"), _("Use a terminal with colours."))]
    text = _("{encoding}, LANG={lang}").format(encoding=sys.stdout.encoding, lang=os.environ.get("LANG", ""))
    if encoding != "utf8":
        advice = _("Set LANG=C.UTF-8 or PYTHONUTF8=1, or Chinese is garbled.")
        return [*findings, Finding("locale", "warning", text, advice)]
    return [*findings, Finding("locale", "good", text)]
