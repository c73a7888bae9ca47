"""Which model of the catalogue suits this computer, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llamachat.core.units import size
from llamachat.errors import ModelError
from llamachat.hub.catalogue import Entry
from llamachat.hub.machine import Machine


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
            f"No model of the catalogue fits {size(machine.memory)} of memory and {size(disk)} of free disk.",
            "Make room, or use the bundled model: `llamachat serve`.",
        )
    best = max(fitting, key=lambda e: e.rank)
    return Advice(best, best.quant, _reason(best, machine, language, n_ctx))


def _reason(entry: Entry, machine: Machine, language: str, n_ctx: int) -> str:
    need = entry.estimate(entry.quant, n_ctx).total
    speaks = {"zh": " and speaks Chinese", "en": ""}.get(language, f" and speaks {language}")
    return (
        f"{entry.title} at {entry.quant}: of {size(machine.memory)} memory it takes {size(need)}, "
        f"is quick enough for {machine.n_cores} cores and {machine.gpu or 'no GPU'}{speaks}; "
        f"{size(entry.file_size(entry.quant))} to download."
    )


def choose_quant(entry: Entry, machine: Machine, n_ctx: int) -> str:
    """The entry's usual quantisation, or that for weak machines where it does not fit."""
    usual = machine.fit(entry.estimate(entry.quant, n_ctx).total)
    return entry.weak_quant if usual == "no" and entry.weak_quant else entry.quant
