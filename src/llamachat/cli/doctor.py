"""`llamachat doctor`: whether everything is there that a chat needs, and what to do if it is not."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from rich.cells import set_cell_size

from llamachat.cli import console
from llamachat.doctor.checks import Finding
from llamachat.doctor.examination import examine
from llamachat.errors import ExitStatus
from llamachat.language import _
from llamachat.settings.base import add_options, load
from llamachat.settings.hub import DoctorSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(parser, DoctorSettings)
    parser.add_argument("--json", action="store_true", help=_("print the findings as JSON"))


def run(args: argparse.Namespace) -> int:
    settings = load(DoctorSettings, vars(args))
    findings = []
    for finding in examine(port=settings.port, network=settings.network, timeout=settings.timeout):
        findings.append(finding)
        if not args.json:
            _print(finding)
    if args.json:
        sys.stdout.write(json.dumps([asdict(finding) for finding in findings], indent=2) + "\n")
    return ExitStatus.ERROR if any(f.level == "bad" for f in findings) else ExitStatus.OK


def _print(finding: Finding) -> None:
    level, name = set_cell_size(_(finding.level), 9), set_cell_size(_(finding.name), 10)
    console.write(f"{level}{name}{finding.text}", lead_style=finding.level)
    if finding.advice:
        console.write(f"{'':19}→  {finding.advice}")
