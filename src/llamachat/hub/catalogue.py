"""The models that are known by a short name (catalogue.toml), and which of them suits a computer."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from llamachat.core.units import size
from llamachat.errors import ModelError
from llamachat.hub import quants
from llamachat.hub.estimate import Estimate, Shape, estimate_shape
from llamachat.hub.hardware import Machine
from llamachat.language import _

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True, slots=True)
class Licence:
    """`ask`: the user has to agree to it."""

    id: str
    name: str
    url: str = ""
    ask: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One model of the catalogue; see the head of catalogue.toml for the fields."""

    name: str
    title: str
    repo: str
    quant: str
    params: float
    n_ctx_train: int
    licence: str
    languages: tuple[str, ...]
    rank: int
    shape: Shape
    weak_quant: str = ""

    def file_size(self, quant: str) -> int:
        """About how many bytes the file has, from its bits for each weight."""
        return int(self.params * 1e9 * quants.BITS.get(quant, 5.0) / 8)

    def estimate(self, quant: str, n_ctx: int) -> Estimate:
        return estimate_shape(self.shape, self.file_size(quant), n_ctx)


@functools.cache
def _tables() -> dict[str, Any]:
    text = resources.files("llamachat.hub").joinpath("catalogue.toml").read_text("utf-8")
    return tomllib.loads(text)


@functools.cache
def entries() -> tuple[Entry, ...]:
    def entry(table: dict[str, Any]) -> Entry:
        shape = Shape(**table["shape"])
        return Entry(**{**table, "languages": tuple(table["languages"]), "shape": shape})

    return tuple(entry(table) for table in _tables()["model"])


def find(name: str) -> Entry | None:
    return next((entry for entry in entries() if entry.name == name.lower()), None)


def licence(licence_id: str) -> Licence:
    """What is known of a licence; the user has to agree to any version of Llama's."""
    known = _tables()["licences"].get(licence_id)
    if known:
        return Licence(licence_id, **known)
    return Licence(
        licence_id, licence_id or "unknown", ask="llama" in licence_id or licence_id.startswith("gemma")
    )


@dataclass(frozen=True, slots=True)
class Advice:
    """`reason` is one line."""

    entry: Entry
    quant: str
    reason: str


def largest_params(machine: Machine) -> float:
    """Billions of parameters up to which answers come at reading speed: without a GPU the cores decide.

    Measured with Q4_K_M on 2 cores: 8B writes 2.3 tokens a second, 1B ten.
    """
    if machine.gpu:
        return 15.0
    return 3.3 if machine.n_cores <= 2 else 4.5 if machine.n_cores <= 4 else 9.0


def recommend(entries: Sequence[Entry], machine: Machine, disk: int, language: str, n_ctx: int) -> Advice:
    """The best that fits comfortably, is fast enough and speaks `language`. Raises ModelError without one."""
    candidates = [
        e for e in entries if e.rank and e.params <= largest_params(machine) and language in e.languages
    ]
    fitting = [
        e
        for e in candidates
        if machine.fit(e.estimate(e.quant, n_ctx).total) == "comfortably" and e.file_size(e.quant) < disk
    ]
    if not fitting:
        raise ModelError(
            _("No model of the catalogue fits {memory} of memory and {disk} of free disk.").format(
                memory=size(machine.memory), disk=size(disk)
            ),
            _("Free some space, or use the bundled model: `llamachat serve`."),
        )
    best = max(fitting, key=lambda e: e.rank)
    return Advice(best, best.quant, _reason(best, machine, language, n_ctx))


def _reason(entry: Entry, machine: Machine, language: str, n_ctx: int) -> str:
    need = entry.estimate(entry.quant, n_ctx).total
    speaks = {"zh": _(" and speaks Chinese"), "en": ""}.get(
        language, _(" and speaks {language}").format(language=language)
    )
    return _(
        "{title} at {quant} needs {needed} of {memory} memory, is fast enough for {n_cores} cores "
        "and {gpu}{speaks}; {download} to download."
    ).format(
        title=entry.title,
        quant=entry.quant,
        needed=size(need),
        memory=size(machine.memory),
        n_cores=machine.n_cores,
        gpu=machine.gpu or _("no GPU"),
        speaks=speaks,
        download=size(entry.file_size(entry.quant)),
    )


def choose_quant(entry: Entry, machine: Machine, n_ctx: int) -> str:
    """The entry's usual quantisation, or that for weak machines if it does not fit."""
    usual = machine.fit(entry.estimate(entry.quant, n_ctx).total)
    return entry.weak_quant if usual == "no" and entry.weak_quant else entry.quant
