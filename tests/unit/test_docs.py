"""What the documents say is what the program says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import llamachat
from tests.support import ROOT

DOCUMENTS = [
    *sorted(ROOT.glob("README*.md")),
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
TRANSLATIONS = {
    ROOT / "README.zh-CN.md": ROOT / "README.md",
    **{page: ROOT / "docs" / page.name for page in sorted((ROOT / "docs" / "zh-CN").glob("*.md"))},
}
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


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("blocks of code", r"^```.*?^```$"),
        ("commands", r"`((?:llamachat|scripts/|/|--)[^`\n]*)`"),
        ("links", r"\]\((?:\.\./)*([^)]+)\)"),
        ("figures", r"(?<![\w.-])\d+(?:\.\d+)?"),
    ],
)
@pytest.mark.parametrize(("translation", "source"), TRANSLATIONS.items(), ids=lambda path: path.name)
def test_a_translation_has_what_its_source_has(
    translation: Path, source: Path, name: str, pattern: str
) -> None:
    def found(document: Path) -> Counter[str]:
        """The same things, in any order: languages differ in that. The head names the other language."""
        _, text = document.read_text(encoding="utf-8").replace("docs/zh-CN/", "docs/").split("\n## ", 1)
        return Counter(re.findall(pattern, text, re.MULTILINE | re.DOTALL))

    assert found(translation) == found(source), f"{translation.name} and {source.name}: {name}"


@pytest.mark.parametrize(("translation", "source"), TRANSLATIONS.items(), ids=lambda path: path.name)
def test_a_translation_has_the_headings_and_blocks_of_its_source_in_order(
    translation: Path, source: Path
) -> None:
    def outline(document: Path) -> list[str]:
        """The headings' levels and the blocks of code, as they follow each other."""
        parts = re.findall(
            r"^(?:```.*?^```$|#+ |\|-|!\[)", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        )
        return [str(part) for part in parts]

    assert outline(translation) == outline(source)


def test_a_translation_and_its_source_link_to_each_other() -> None:
    for translation, source in TRANSLATIONS.items():
        for here, there in ((translation, source), (source, translation)):
            head = here.read_text(encoding="utf-8").split("\n## ")[0]
            assert f"]({Path(os.path.relpath(there, here.parent)).as_posix()})" in head


def test_the_constraints_name_no_index() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[^ ;]+( ?; .+)?", pin) for pin in pins)
