"""`llamachat models` and `doctor` as processes, on real files of every store."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pexpect
import pytest

from llamachat.hub.model_folder import Paths, Record
from tests.gguf_files import LLAMA, gguf
from tests.support import ServerProcess

REPO_FOLDER = "hub/models--org--smol/snapshots/0123abc"
OLLAMA_TYPE = "application/vnd.ollama.image.model"


class Runner:
    """Runs `llamachat` in a home with a models folder."""

    def __init__(self, home: Path, env: dict[str, str]) -> None:
        self.home = home
        self.folder = home / "models"
        self.folder.mkdir(parents=True)
        self.env = {**env, "HOME": str(home), "HF_HOME": str(home / "hf"), "LANG": "en_US.UTF-8"}

    def __call__(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "llamachat", *arguments],
            cwd=self.home,
            env={**self.env, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def models(self, *arguments: str) -> tuple[int, str, str]:
        return self("models", "--folder", str(self.folder), *arguments)


@pytest.fixture
def run(tmp_path: Path, env: dict[str, str]) -> Runner:
    return Runner(tmp_path / "user", env)


def linked(target: Path, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if os.name == "posix":
        path.symlink_to(target)
    else:
        shutil.copy(target, path)
    return path


@pytest.fixture
def everywhere(run: Runner, small_model: Path) -> Runner:
    """One model in each of the stores."""
    with small_model.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    sha256 = digest.hexdigest()
    linked(small_model, run.folder / "ours-Q4_1.gguf")
    blob = run.home / "hf" / "hub/models--org--smol/blobs" / sha256
    linked(linked(small_model, blob), run.home / "hf" / REPO_FOLDER / "cached-Q4_1.gguf")
    store = run.home / ".ollama" / "models"
    linked(small_model, store / "blobs" / f"sha256-{sha256}")
    manifest = store / "manifests/registry.ollama.ai/library/smol/135m"
    manifest.parent.mkdir(parents=True)
    layer = {"mediaType": OLLAMA_TYPE, "digest": f"sha256:{sha256}", "size": small_model.stat().st_size}
    manifest.write_text(json.dumps({"layers": [{"mediaType": "x", "digest": "y"}, layer]}))
    (manifest.parent / "broken").write_text("{")
    linked(small_model, run.home / ".lmstudio/models/org/smol/studio-Q4_1.gguf")
    return run


def test_the_list_has_the_models_of_every_store(everywhere: Runner) -> None:
    status, out, err = everywhere.models()
    assert status == 0, err
    for name, store in (
        ("ours-Q4_1", "llamachat"),
        ("SmolLM2-135M-Instruct.Q4_1", "bundled"),
        ("cached-Q4_1", "Hugging Face cache"),
        ("smol:135m", "Ollama"),
        ("studio-Q4_1", "LM Studio"),
    ):
        line = next(line for line in out.splitlines() if line.split()[:1] == [name] and store in line)
        for fact in ("98 MB", "Q4_1", "0.13B", "8192", "apache-2.0", "248 MB"):
            assert fact in line


@pytest.mark.parametrize("name", ["cached-Q4_1", "smol:135m", "studio-Q4_1.gguf"])
def test_models_of_other_programs_are_served_without_a_copy(everywhere: Runner, name: str) -> None:
    status, out, err = everywhere("serve", name, "--print-command")
    assert status == 0, err
    assert str(everywhere.home) in out


def test_a_model_is_served_under_its_name_in_the_catalogue(run: Runner, small_model: Path) -> None:
    data = Path(run.env["XDG_DATA_HOME"]) / "llamachat" / "models"
    path = linked(small_model, data / "Meta-Llama-3-8B-Instruct.Q4_K_M.gguf")
    paths = Paths(data, path.name)
    paths.record.parent.mkdir()
    record = Record("QuantFactory/Meta-Llama-3-8B-Instruct-GGUF", "Q4_K_M", "", 0, alias="llama3")
    paths.record.write_text(json.dumps(asdict(record)))
    linked(small_model, data / "other.gguf")
    status, out, err = run("serve", "llama3", "--print-command")
    assert status == 0, err
    assert path.name in out


def test_verify_compares_with_every_known_hash(everywhere: Runner) -> None:
    status, out, _ = everywhere.models("verify")
    assert status == 0
    assert "smol:135m (Ollama): complete: its sha256 is right" in out
    assert "studio-Q4_1 (LM Studio): no hash is known; header and size are right" in out


def test_every_shard_in_a_cache_has_a_hash_of_its_own(run: Runner) -> None:
    """Of a file that is in two snapshots there is one line."""
    for number, shape in enumerate([(64, 32), (64, 64)], 1):
        content = gguf(shapes=[shape])
        blob = run.home / "hf/hub/models--org--big/blobs" / hashlib.sha256(content).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        for commit in ("0123abc", "4567def"):
            snapshot = run.home / "hf/hub/models--org--big/snapshots" / commit
            linked(blob, snapshot / f"big-0000{number}-of-00002.gguf")
    status, out, _ = run.models("verify")
    assert status == 0 and out.count("big-00001-of-00002 (Hugging Face cache): complete") == 1


def test_broken_stores_and_names_that_drive_a_terminal_do_no_harm(run: Runner) -> None:
    manifests = run.home / ".ollama/models/manifests/registry.ollama.ai/library/x"
    manifests.mkdir(parents=True)
    for number, content in enumerate(["[" * 100_000, "[]", '{"layers": [null]}', "\0"]):
        (manifests / str(number)).write_text(content)
    (run.folder / "odd.gguf").write_bytes(gguf({**LLAMA, "general.name": "\x1b[2Jodd"}))
    paths = Paths(run.folder, "odd.gguf")
    paths.record.parent.mkdir()
    paths.record.write_text('{"repo": 1, "quant": 2, "sha256": 3, "size": "x", "licence": 5}')
    paths.part.touch()
    paths.journal.write_text('{"identity": {"size": "x"}}\n+ 0 5\n')
    status, out, err = run.models()
    assert (status, err) == (0, "") and "odd" in out
    status, out, err = run.models("show", "odd")
    assert (status, err) == (0, "") and "␛[2Jodd" in out and "\x1b" not in out


def test_verify_finds_a_changed_byte_and_a_lost_end(run: Runner, small_model: Path) -> None:
    changed = Path(shutil.copy(small_model, run.folder / "changed.gguf"))
    with changed.open("r+b") as file:
        file.seek(90_000_000)
        file.write(b"\0\1\2\3")
    record = {"repo": "org/x", "quant": "Q4_1", "sha256": "0" * 64, "size": 1}
    paths = Paths(run.folder, "changed.gguf")
    paths.record.parent.mkdir()
    paths.record.write_text(json.dumps(record))
    (run.folder / "short.gguf").write_bytes(small_model.read_bytes()[:50_000_000])
    status, out, _ = run.models("verify", "changed", "short")
    assert status == 3
    assert f"it should be {'0' * 64}" in out and "is truncated" in out


def test_show_tells_what_the_header_has(everywhere: Runner) -> None:
    status, out, _ = everywhere.models("show", "smol:135m")
    assert status == 0
    for line in ("architecture: llama", "quantisation: Q4_1", "tokens: 49,152 (gpt2)", "layers: 30"):
        assert line in out.splitlines()
    assert "chat template: {% for message in messages %}" in out
    assert "KV cache 189 MB (4 at once)" in out


def test_a_path_will_do_for_a_name(run: Runner) -> None:
    path = run.home / "Downloads" / "odd name.gguf"
    path.parent.mkdir()
    path.write_bytes(gguf({**LLAMA, "general.file_type": 15}))
    for name in (str(path), "Downloads/odd name.gguf"):
        status, out, err = run.models("show", name)
        assert (status, err) == (0, "") and f"file: {path}" in out.splitlines() and "from: path" in out
    assert "nearly as good as the original" in run("models", "explain", str(path))[1]  # by its header
    assert run.models("verify", str(path))[0] == 0
    status, _, err = run.models("rm", "--yes", str(path))
    assert status == 3 and "is not in a models folder. Delete the file yourself." in err and path.exists()


def test_a_model_in_the_current_directory_is_listed_and_served(run: Runner, small_model: Path) -> None:
    path = linked(small_model, run.home / "found.gguf")
    assert any(line.split()[:3] == ["found", "current", "directory"] for line in run.models()[1].splitlines())
    status, out, err = run("serve", "--print-command")
    assert (status, err) == (0, "") and str(path) in out


@pytest.mark.skipif(os.name != "posix", reason="pexpect needs a pseudo-terminal")
def test_of_several_models_the_user_picks_one(run: Runner, small_model: Path) -> None:
    for name in ("alpha", "beta"):
        linked(small_model, run.home / f"{name}.gguf")
    for answer, chosen in (("2", "beta.gguf"), ("alpha", "alpha.gguf")):
        child = pexpect.spawn(
            sys.executable,
            ["-m", "llamachat", "serve", "--print-command"],
            env={**run.env, "TERM": "xterm"},
            cwd=str(run.home),
            encoding="utf-8",
            timeout=60,
        )
        child.expect(r"1  alpha +98 MB .*2  beta +98 MB .*Which model\? \[1-2\] ")
        child.sendline(answer)
        child.expect(f"--model .*{chosen}")
        child.close()
    status, _, err = run("serve", "--print-command")
    assert status == 3 and "There are several models: alpha, beta. Choose one with" in err


def test_the_demo_says_what_it_is(serve: ServerProcess) -> None:
    assert "No model found: this is the demo SmolLM2-135M-Instruct" in serve.stderr()
    assert "is small and speaks English only. Fetch a better one: llamachat pull" in serve.stderr()


def test_rm_removes_ours_with_its_traces_and_an_unfinished_one(run: Runner, small_model: Path) -> None:
    shutil.copy(small_model, run.folder / "ours.gguf")
    paths = Paths(run.folder, "rest.gguf")
    paths.journal.parent.mkdir()
    identity = {"size": 4, "sha256": None, "etag": None}
    paths.journal.write_text(json.dumps({"identity": identity, "boot": 1.0}) + "\n+ 0 1\n")
    paths.part.write_bytes(b"G")
    assert "rest" in run.models()[1] and "25% of" in run.models()[1]
    assert run.models("rm", "ours")[0] == 2  # nobody to ask
    assert run.models("rm", "--yes", "ours", "rest")[0] == 0
    assert [p.name for p in run.folder.rglob("*")] == [".llamachat"]


def test_rm_leaves_alone_what_belongs_to_others(everywhere: Runner) -> None:
    for name, way in (("smol:135m", "`ollama rm smol:135m`"), ("cached-Q4_1", "`hf cache rm`")):
        status, out, err = everywhere.models("rm", "--yes", name)
        assert (status, out) == (3, "") and way in err


def test_explain_speaks_both_languages(run: Runner) -> None:
    assert "medium mix" in run("models", "explain", "Q4_K_M")[1]
    assert "中（medium）" in run("models", "explain", "Q4_K_M", "--lang", "zh", PYTHONUTF8="1")[1]
    assert "小（small）" in run("models", "explain", "Q3_K_S", LANG="zh_CN.UTF-8", PYTHONUTF8="1")[1]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (
            ["show", "nothing"],
            3,
            "There is no file nothing, and no model of that name. The models here: none; see",
        ),
        (["show"], 2, "`models show` needs a name."),
        (["explain", "Q99"], 2, "'Q99' is not the name of a quantisation."),
    ],
)
def test_mistakes_are_one_line(run: Runner, arguments: list[str], status: int, message: str) -> None:
    got, out, err = run.models(*arguments)
    assert (got, out, len(err.splitlines())) == (status, "", 1) and message in err


def test_doctor_proves_the_engine_with_a_token(run: Runner) -> None:
    status, out, err = run("doctor", "--no-network", "--json", "--timeout", "110")
    findings = {finding["name"]: finding for finding in json.loads(out)}
    assert findings["token"]["level"] == "good", err
    assert "built for the CPU" in findings["engine"]["text"]
    assert {
        "python",
        "memory",
        "load",
        "disk",
        "models",
        "port",
        "terminal",
        "locale",
        "engine",
        "gpu",
    } <= set(findings)
    assert all(f["advice"] for f in findings.values() if f["level"] != "good")
    assert status == (1 if any(f["level"] == "bad" for f in findings.values()) else 0)


def test_doctor_tells_a_busy_port_and_a_hub_that_is_not_there(run: Runner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        _, out, _ = run(
            "doctor", "--port", str(port), "--timeout", "110", HF_ENDPOINT="http://127.0.0.1:9", NO_COLOR="1"
        )
    lines = out.splitlines()
    assert any(line.split()[:2] == ["warning", "port"] and str(port) in line for line in lines)
    assert any("http://127.0.0.1:9 does not answer" in line for line in lines)
    assert any(line.split()[:2] == ["good", "token"] for line in lines)
