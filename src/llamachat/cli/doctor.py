"""`llamachat doctor`: is everything there that a chat needs, and what to do where it is not."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from rich.text import Text

from llamachat.cli import checks, console, engine_check
from llamachat.errors import ExitStatus, LlamachatError
from llamachat.hub import local, machine
from llamachat.settings.base import add_options, load
from llamachat.settings.hub import DoctorSettings

_STYLES = {"good": "green", "warning": "yellow", "bad": "bold red"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(parser, DoctorSettings)
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(args: argparse.Namespace) -> int:
    settings = load(DoctorSettings, vars(args))
    findings = []
    for finding in _findings(settings):
        findings.append(finding)
        if not args.json:
            _print(finding)
    if args.json:
        sys.stdout.write(json.dumps([asdict(finding) for finding in findings], indent=2) + "\n")
    return ExitStatus.ERROR if any(f.level == "bad" for f in findings) else ExitStatus.OK


def _findings(settings: DoctorSettings) -> Iterator[checks.Finding]:
    """Every check in turn, the slow ones last."""
    here = machine.look()
    folders = local.models_folders(Path.cwd())
    yield checks.check_python()
    yield checks.check_memory(here)
    yield checks.check_disk(folders[0])
    yield checks.check_models(folders)
    yield checks.check_port(settings.port)
    yield from checks.check_terminal()
    bundled = local.bundled_model()
    path = bundled.path if bundled else None
    yield from engine_check.check_engine(path, here.gpu, os.environ, settings.timeout)
    if settings.network:
        yield from _network()


def _network() -> list[checks.Finding]:
    from llamachat.hub.remote import MIRROR, Hub

    try:
        hub = Hub()
    except LlamachatError as error:
        return [checks.Finding("hub", "warning", error.message, error.hint)]
    if hub.offline:
        return checks.check_network(True, [], [])
    endpoints = list(dict.fromkeys([hub.endpoint, MIRROR]))
    return checks.check_network(False, endpoints, checks.ask_network(endpoints))


def _print(finding: checks.Finding) -> None:
    line = Text(f"{finding.level:8}", style=_STYLES[finding.level])
    line.append(f"{finding.name:9} {finding.text}", style="default")
    if finding.advice:
        line.append(f"\n{'':18}→ {finding.advice}", style="default")
    console.stdout().print(line)
