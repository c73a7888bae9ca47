"""What the documents say is what the program says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import llamachat
from tests.support import ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
HELP = re.compile(r"```console\n\$ (llamachat[^\n]* --help)\n(.*?)```", re.DOTALL)
BLOCKS = [
    (doc, *match.groups()) for doc in DOCUMENTS for match in HELP.finditer(doc.read_text(encoding="utf-8"))
]


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="argparse words its help differently since")
@pytest.mark.parametrize(("document", "command", "shown"), BLOCKS, ids=[str(block[1]) for block in BLOCKS])
def test_help_in_the_documents_is_up_to_date(document: Path, command: str, shown: str) -> None:
    arguments = command.split()[1:]
    env = {**os.environ, "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, "-m", "llamachat", *arguments], capture_output=True, text=True, check=True, env=env
    )
    assert done.stdout.strip() == shown.strip(), (
        f"{document.name}: `COLUMNS=100 {command}` says something else"
    )


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="argparse words its help differently since")
def test_the_man_page_is_up_to_date() -> None:
    command = [sys.executable, "scripts/cli_docs.py", "--man"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    page = (ROOT / "docs" / "llamachat.1").read_text(encoding="utf-8")
    assert done.stdout == page, "python scripts/cli_docs.py"


def test_the_changelogs_newest_version_is_the_programs() -> None:
    versions = re.findall(
        r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert versions[:1] in ([], [llamachat.__version__])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_files_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target


def test_the_constraints_name_no_index() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[^ ;]+( ?; .+)?", pin) for pin in pins)
