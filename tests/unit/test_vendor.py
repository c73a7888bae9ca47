"""The page's libraries are the files that the list names, and the page says the same in both languages."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys

from tests.support import ROOT

STATIC = ROOT / "src" / "llamachat" / "web" / "static"


def test_vendored_files_are_those_of_the_list() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "vendor.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_libraries_are_small() -> None:
    sizes = {path.name: len(gzip.compress(path.read_bytes())) for path in (STATIC / "vendor").glob("*.js")}
    assert sum(sizes.values()) <= 230_000
    assert sum(sizes.values()) - sizes["katex.js"] <= 90_000


def test_every_word_is_there_in_both_languages() -> None:
    text = (STATIC / "words.js").read_text(encoding="utf-8")
    english, chinese = (set(re.findall(r"(\w+): \"", part)) for part in text.split("const zh ="))
    assert english == chinese
    used = set(re.findall(r"\bwords\.(?!js)(\w+)", (STATIC / "app.js").read_text(encoding="utf-8")))
    assert used <= english
