"""Fetch the libraries of the page from npm: each file, its version, its hash and its licence in one list.

python scripts/vendor.py          writes src/llamachat/web/static/vendor, and for tests tests/browser/vendor
python scripts/vendor.py --check  compares the files with the list, without asking npm
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
LIST = "vendor.json"


@dataclass(frozen=True)
class Library:
    """One file of one package. `licence` is the SPDX name, `licence_file` its text in the package."""

    package: str
    version: str
    source: str
    name: str
    licence: str
    licence_file: str


PAGE = (
    Library("marked", "18.2.1", "lib/marked.esm.js", "marked.js", "MIT", "LICENSE"),
    Library("dompurify", "3.4.18", "dist/purify.min.js", "purify.js", "Apache-2.0 OR MPL-2.0", "LICENSE"),
    Library(
        "@highlightjs/cdn-assets", "11.12.0", "es/highlight.min.js", "highlight.js", "BSD-3-Clause", "LICENSE"
    ),
    Library("katex", "0.19.1", "dist/katex.min.js", "katex.js", "MIT", "LICENSE"),
    Library("lit-html", "3.3.3", "lit-html.js", "lit-html.js", "BSD-3-Clause", "LICENSE"),
)

TESTS = (Library("axe-core", "4.14.1", "axe.min.js", "axe.js", "MPL-2.0", "LICENSE"),)
FOLDERS = {
    ROOT / "src" / "llamachat" / "web" / "static" / "vendor": PAGE,
    ROOT / "tests" / "browser" / "vendor": TESTS,
}


def fetch(folder: Path, libraries: Sequence[Library]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for library in libraries:
        with tempfile.TemporaryDirectory() as temporary:
            spec = f"{library.package}@{library.version}"
            packed = subprocess.run(
                ["npm", "pack", "--silent", spec], cwd=temporary, capture_output=True, text=True, check=True
            ).stdout.strip()
            with tarfile.open(Path(temporary) / packed) as archive:
                content = _member(archive, library.source)
                licence = _member(archive, library.licence_file)
        # A map of the source would be asked for, and is not there.
        lines = [line for line in content.splitlines() if not line.startswith(b"//# sourceMappingURL=")]
        content = b"\n".join(lines) + b"\n"
        (folder / library.name).write_bytes(content)
        (folder / f"{library.name}.LICENSE").write_bytes(licence)
        rows.append({**asdict(library), "sha256": hashlib.sha256(content).hexdigest()})
    (folder / LIST).write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def check(folder: Path, libraries: Sequence[Library]) -> list[str]:
    """What is wrong with the files; empty where they are those of the list."""
    rows = json.loads((folder / LIST).read_text(encoding="utf-8"))
    wrong = [
        f"{row['name']} is not the file of {row['package']} {row['version']}"
        for row in rows
        if hashlib.sha256((folder / row["name"]).read_bytes()).hexdigest() != row["sha256"]
    ]
    if [(r["package"], r["version"]) for r in rows] != [(x.package, x.version) for x in libraries]:
        wrong.append("the list is of other versions: run scripts/vendor.py")
    return wrong


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(f"package/{name}")
    assert file is not None, name
    return file.read()


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit("\n".join(line for pair in FOLDERS.items() for line in check(*pair)) or 0)
    for pair in FOLDERS.items():
        fetch(*pair)
