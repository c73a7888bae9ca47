"""Write docs/cli.md, the `--help` of every command, and docs/llamachat.1, the same as a man page.

Where another document shows a `--help`, that is brought up to date too.

python scripts/cli_docs.py          write both; use a Python older than 3.13, as CI's check does
python scripts/cli_docs.py --man    print the man page
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from argparse_manpage.manpage import Manpage

from llamachat import __version__
from llamachat.cli.parser import COMMANDS, build

DOCS = Path(__file__).parent.parent / "docs"
HEADER = """# Every command and its options

Written by `python scripts/cli_docs.py`; a test compares it with the program.

An option can also be set by an environment variable, `LLAMACHAT_` followed by its name in capitals
(`LLAMACHAT_N_CTX=4096`, `LLAMACHAT_NO_STORE=1`), or in the command's section of `config.toml` (`n_ctx = 4096`
under `[serve]`). That file is in the user's config folder (`~/.config/llamachat` on Linux), or where
`LLAMACHAT_CONFIG` points. Flags win over the environment, which wins over the file.

`LLAMACHAT_LANG` is the language of all that the program says, `zh` or `en`; without it, that of the locale
(`LC_ALL`, `LC_MESSAGES`, `LANG`) or, where none is set, of Windows or macOS. It is also what `--lang` is of a
command that has it: the language of templates, of explanations, and of the messages that a chat begins with.

Everything after `--` in `llamachat serve … -- --n_batch 256` goes to `python -m llama_cpp.server` unchanged.
The server uses the last of several values, so flags there win over serve's own. Options that serve has too
(`--model`, `--host`, `--port`, `--n_ctx`, `--n_threads`, `--n_gpu_layers`, `--api_key`) are treated as if
they came before the `--`, and are checked. `--config_file` is refused: it would undo what serve sets.

`llamachat completion SHELL` prints a script for bash, zsh, fish or PowerShell that completes commands,
options and files; `man llamachat` shows this page after an installation with pip.

| exit status | meaning |
|---|---|
| 0 | success |
| 1 | nothing was found, doctor found something bad, or any other error |
| 2 | a flag, an environment variable or `config.toml` is wrong |
| 3 | the model can't be found, read, trusted or loaded into memory |
| 4 | the host or port can't be used |
| 5 | the server is not there, died, or answered with an error |
| 6 | the server refused the key |
| 7 | a hub or mirror can't be reached, or a transfer failed |
| 8 | the transcripts can't be read or written |
| 9 | an answer is incomplete or has the wrong shape, or rows of a batch failed |
| 130 | Ctrl-C |
"""
ROW = re.compile(r"^    (\w+)(?: |$)", re.MULTILINE)
"""A command in the list that a `--help` gives."""
BLOCK = re.compile(r"```console\n\$ (llamachat[^\n]* --help)\n.*?```", re.DOTALL)
"""A `--help` in a document."""

os.environ["LLAMACHAT_LANG"] = "en"  # the pages are in English, whoever writes them


def help_of(*command: str) -> str:
    line = [sys.executable, "-m", "llamachat", *command, "--help"]
    env = {**os.environ, "COLUMNS": "100"}
    return subprocess.run(line, capture_output=True, text=True, check=True, env=env).stdout


def blocks(*command: str) -> Iterator[str]:
    """The help of `command`, then of those below it."""
    text = help_of(*command)
    line = " ".join(["llamachat", *command])
    yield f"## `{line}`\n\n```console\n$ {line} --help\n{text}```\n"
    listed = re.search(r"^  (?:COMMAND|ACTION)\n(?:    .*\n)+", text, re.MULTILINE)
    for name in ROW.findall(listed[0]) if listed else ():
        yield from blocks(*command, name)


def refreshed(block: re.Match[str]) -> str:
    command = block[1].split()[1:-1]
    return f"```console\n$ {block[1]}\n{help_of(*command)}```"


def man_page() -> str:
    os.environ["COLUMNS"] = "100"
    facts = {
        "version": __version__,
        "date": " ",  # or each day would make another page
        "manual_title": "User Commands",
        "description": "a local Llama on your own laptop",
    }
    page = str(Manpage(build(COMMANDS), facts, format="single-commands-section"))
    return "\n".join(line.rstrip() for line in page.splitlines()) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--man"]:
        sys.stdout.write(man_page())
    else:
        (DOCS / "cli.md").write_text("\n".join([HEADER, *blocks()]), encoding="utf-8")
        for document in {*DOCS.rglob("*.md")} - {DOCS / "cli.md"}:
            text = document.read_text(encoding="utf-8")
            document.write_text(BLOCK.sub(refreshed, text), encoding="utf-8")
        (DOCS / "llamachat.1").write_text(man_page(), encoding="utf-8")
