"""What a shell completes with the script of `llamachat completion`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import llamachat

ASK = {
    "bash": ". {script}; COMP_WORDS=({words});COMP_CWORD={last}; _shtab_llamachat; echo ${{COMPREPLY[@]}}",
    "fish": "source {script}; complete -C '{words}'",
    "zsh": "zsh -n {script} && grep -o -e '--port' -e 'history:' {script}",
}


@pytest.mark.parametrize("shell", ASK)
@pytest.mark.parametrize(
    ("words", "completed"), [("llamachat hist", "history"), ("llamachat serve --po", "--port")]
)
def test_a_shell_completes_commands_and_options(
    env: dict[str, str], tmp_path: Path, shell: str, words: str, completed: str
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    done = llamachat("completion", shell, env=env, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    script = tmp_path / "script"
    script.write_text(done.stdout, encoding="utf-8")
    line = ASK[shell].format(script=script, words=words, last=len(words.split()) - 1)
    asked = subprocess.run([shell, "-c", line], capture_output=True, text=True, check=True, env=env)
    assert completed in asked.stdout


def test_former_names_are_not_completed(env: dict[str, str], tmp_path: Path) -> None:
    script = llamachat("completion", "bash", env=env, cwd=tmp_path).stdout
    assert "--input-history" in script and "'--history'" not in script
