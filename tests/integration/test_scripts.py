"""The two scripts: what they do where the project is installed already, and how they install its engine."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sysconfig
import tarfile
import venv
from pathlib import Path

import pytest

from tests.pty_chat import Chat
from tests.support import DEADLINE, ROOT

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the scripts are for bash")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What the scripts need of a clone, in a path with a space."""
    root = tmp_path / "a clone"
    shutil.copytree(ROOT / "scripts", root / "scripts")
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, root)
    return root


def serve(clone: Path, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(clone / "scripts" / "serve.sh"), "--print-command", "--n-ctx", "300"]
    return subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, timeout=DEADLINE, stdin=subprocess.DEVNULL
    )


def test_serve_is_a_plain_launcher_where_llamachat_is_on_the_path(
    clone: Path, env: dict[str, str], tmp_path: Path
) -> None:
    scripts = sysconfig.get_path("scripts")
    done = serve(clone, env | {"PATH": f"{scripts}{os.pathsep}{env['PATH']}"}, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    command = shlex.split(done.stdout)
    assert command[0].startswith(f"{scripts}/python") and command[command.index("--n_ctx") + 1] == "512"
    assert not (clone / ".venv").exists()


@pytest.mark.parametrize("spelling", [["--api-key", "s3cret"], ["--api_key=s3cret"]])
def test_the_key_is_in_no_command_line_from_the_start(
    clone: Path, env: dict[str, str], tmp_path: Path, spelling: list[str]
) -> None:
    launched = tmp_path / "bin" / "llamachat"
    launched.parent.mkdir()
    launched.write_text('#!/bin/sh\nprintf "%s\\n" "$LLAMACHAT_API_KEY" "$@"\n')
    launched.chmod(0o755)
    done = subprocess.run(
        [
            "bash",
            str(clone / "scripts" / "serve.sh"),
            "--model",
            "a b.gguf",
            *spelling,
            "--",
            "--n_batch",
            "8",
        ],
        env=env | {"PATH": f"{launched.parent}{os.pathsep}{env['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "s3cret",
        "serve",
        "--model",
        "a b.gguf",
        "--",
        "--n_batch",
        "8",
    ]


@pytest.fixture
def installed(clone: Path) -> Path:
    """The clone after an installation; what it runs is this project."""
    venv.create(clone / ".venv", with_pip=False)
    site = next((clone / ".venv").rglob("site-packages"))
    (site / "installed.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT / 'src'}\n")
    remember = f'. "{clone}/scripts/lib.sh"; remember_install serve'
    subprocess.run(["bash", "-c", remember], check=True)
    return clone


def test_the_second_start_installs_nothing(installed: Path, env: dict[str, str], tmp_path: Path) -> None:
    done = serve(installed, env, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{installed}/.venv/bin/python" in done.stdout


def test_it_starts_through_a_link_and_where_cd_looks_elsewhere(
    installed: Path, env: dict[str, str], tmp_path: Path
) -> None:
    link = tmp_path / "serve"
    link.symlink_to(installed / "scripts" / "serve.sh")
    (tmp_path / "other" / "scripts").mkdir(parents=True)
    for script in (str(link), "scripts/serve.sh"):
        done = subprocess.run(
            ["bash", script, "--print-command"],
            cwd=installed,
            env=env | {"CDPATH": str(tmp_path / "other")},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert f"{installed}/.venv/bin/python" in done.stdout


def tools(folder: Path, *names: str) -> dict[str, str]:
    """A PATH of these programs alone."""
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(str(shutil.which(name)))
    return {"PATH": str(folder)}


SHELL = ("bash", "dirname", "cat", "cksum", "grep", "sleep", "tail")


def test_a_venv_that_was_cut_short_gets_its_pip(clone: Path, env: dict[str, str], tmp_path: Path) -> None:
    venv.create(clone / ".venv", with_pip=False)
    found = env | tools(tmp_path / "bin", *SHELL) | {"PIP_NO_INDEX": "1"}
    done = serve(clone, found, cwd=tmp_path)
    assert done.returncode == 1
    assert "No matching distribution found" in done.stderr and "No module named pip" not in done.stderr


def test_without_a_python_it_says_which_is_needed(clone: Path, env: dict[str, str], tmp_path: Path) -> None:
    done = serve(clone, env | tools(tmp_path / "bin", *SHELL), cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "Python 3.10 or newer is needed. Install it, or set PYTHON to it.\n"


BACKEND = """
import os, pathlib, time, zipfile

INFO = "llama_cpp_python-0.3.99.dist-info"

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    print("*** Configuring CMake...")
    if "{refused}" in os.environ["CMAKE_ARGS"]:
        raise SystemExit("no such build")
    print("[1/2] cc", flush=True)
    while os.path.exists(os.environ.get("COMPILING", "")):
        time.sleep(0.05)
    name = "llama_cpp_python-0.3.99-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(wheel_directory, name), "w") as wheel:
        wheel.writestr("llama_cpp/args", os.environ["CMAKE_ARGS"])
        for backend in ("cuda", "vulkan"):
            if f"-DGGML_{backend.upper()}=ON" in os.environ["CMAKE_ARGS"]:
                wheel.writestr(f"llama_cpp/lib/libggml-{backend}.so", "")
        wheel.writestr("llama_cpp/lib/libggml-cpu.so", "")
        metadata = "Metadata-Version: 2.1\\nName: llama-cpp-python\\nVersion: 0.3.99\\n"
        wheel.writestr(f"{INFO}/METADATA", metadata)
        wheel.writestr(f"{INFO}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{INFO}/RECORD", "")
    return name
"""


class Engine:
    """A clone with a venv, and an index that has the source of llama-cpp-python alone, a stand-in for it."""

    def __init__(self, clone: Path, env: dict[str, str], tmp_path: Path) -> None:
        self.clone = clone
        self.index = tmp_path / "index"
        self.index.mkdir()
        self.env = env | {
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.index),
            "PIP_CACHE_DIR": str(tmp_path / "pip"),
            "PIP_CONSTRAINT": os.devnull,
        }
        for name in ("CMAKE_ARGS", "PIP_NO_CACHE_DIR"):
            self.env.pop(name, None)
        self.bin = tmp_path / "bin"
        names = (*SHELL, "uname", "c++", "cc")
        self.env |= tools(self.bin, *(name for name in names if shutil.which(name)))
        pip = importlib.util.find_spec("pip")  # a venv that uv made has none
        venv.create(clone / ".venv", with_pip=pip is None)
        if pip and pip.origin:
            site = next((clone / ".venv").rglob("site-packages"))
            (site / "pip").symlink_to(Path(pip.origin).parent)

    def publish(self, refused: str = "nothing") -> None:
        """Put the source into the index; its build fails where CMAKE_ARGS has `refused` in it."""
        source = self.index.parent / "llama_cpp_python-0.3.99"
        source.mkdir(exist_ok=True)
        (source / "backend.py").write_text(BACKEND.replace("{refused}", refused))
        (source / "pyproject.toml").write_text(
            '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        )
        (source / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: llama-cpp-python\nVersion: 0.3.99\n")
        with tarfile.open(self.index / f"{source.name}.tar.gz", "w:gz") as archive:
            archive.add(source, source.name)

    def program(self, name: str, script: str) -> None:
        (self.bin / name).write_text(f"#!{shutil.which('bash')}\n{script}\n")
        (self.bin / name).chmod(0o755)

    def command(self, name: str = "", found: str = "") -> list[str]:
        """Installs the engine; `found` is shell that says what this computer has."""
        begin = f'set -euo pipefail; . "{self.clone}/scripts/lib.sh"; {found}'
        return ["bash", "-c", f'{begin}\n: >"$log"; install_engine "{name}"']

    def install(self, name: str = "", found: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(name, found), env=self.env, capture_output=True, text=True, timeout=DEADLINE
        )

    def args(self) -> str:
        """What the engine that is in the venv was built with."""
        return next((self.clone / ".venv").rglob("llama_cpp/args")).read_text()


@pytest.fixture
def engine(clone: Path, env: dict[str, str], tmp_path: Path) -> Engine:
    return Engine(clone, env, tmp_path)


QUICK = "CMAKE_PROJECT_llama_cpp_INCLUDE"


def test_the_engine_is_compiled_the_quick_way(engine: Engine) -> None:
    engine.publish()
    done = engine.install()
    assert done.returncode == 0, done.stderr
    assert "Engine: llama.cpp for cpu." in done.stderr
    (flag,) = shlex.split(engine.args())
    assert flag == f"-D{QUICK}={engine.clone}/scripts/engine.cmake" and " " in flag


def test_where_the_quick_way_fails_the_engine_is_compiled_the_plain_way(engine: Engine) -> None:
    engine.publish(refused=QUICK)
    done = engine.install()
    assert done.returncode == 0, done.stderr
    assert "trying the plain one" in done.stderr
    assert not engine.args().strip()


@pytest.mark.parametrize(
    ("locale", "engine_line", "bar"),
    [
        ("C.UTF-8", "Engine: llama.cpp for cpu.", "Compiling llama.cpp, once: ##########.......... 1 of 2, "),
        (
            "zh_CN.UTF-8",
            "引擎：llama.cpp，为 cpu 编译。",
            "正在编译 llama.cpp（只需一次）：##########.......... 1/2，",
        ),
    ],
)
def test_a_terminal_shows_how_far_the_compiler_is(
    engine: Engine, tmp_path: Path, locale: str, engine_line: str, bar: str
) -> None:
    engine.publish()
    compiling = tmp_path / "compiling"
    compiling.touch()
    env = engine.env | {"LANG": locale, "COMPILING": str(compiling), "TERM": "xterm-256color"}
    terminal = Chat([], env, columns=120, command=engine.command())
    terminal.see(bar)
    compiling.unlink()
    assert terminal.wait() == 0
    assert terminal.text.startswith(engine_line) and bar not in terminal.text


def test_an_engine_that_can_not_be_compiled_ends_with_its_log(engine: Engine) -> None:
    engine.publish(refused="")
    done = engine.install()
    assert done.returncode == 1
    assert "no such build" in done.stderr and "The installation failed" in done.stderr


def test_another_engine_is_compiled_anew_and_is_not_taken_from_the_cache(engine: Engine) -> None:
    engine.publish()
    engine.program("nvcc", "")
    assert engine.install().returncode == 0  # nvcc alone is no GPU
    assert "GGML" not in engine.args()
    for name in ("cuda", "cpu"):
        done = engine.install(name)
        assert done.returncode == 0, done.stderr
        assert ("-DGGML_CUDA=ON" in engine.args()) == (name == "cuda")
        assert f"Engine: llama.cpp for {name}." in engine.install().stderr  # which keeps what is there


def test_the_gpu_that_is_there_is_used(engine: Engine) -> None:
    engine.publish()
    engine.program("nvcc", "")
    engine.program("nvidia-smi", "echo 'GPU 0: NVIDIA GeForce RTX 4060 (UUID: GPU-1)'")
    done = engine.install()
    assert "Engine: llama.cpp for cuda." in done.stderr
    assert "-DGGML_CUDA=ON" in engine.args()


def test_where_the_headers_of_vulkan_are_too_old_it_says_so_and_the_cpu_does_it(engine: Engine) -> None:
    engine.publish()
    engine.program("glslc", "")
    done = engine.install(found="has_gpu_of() { true; }; has_vulkan_sdk() { false; }")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("older than 1.3.272") == 1
    assert "GGML" not in engine.args()


def test_where_compiling_for_the_gpu_fails_the_cpu_does_it(engine: Engine) -> None:
    engine.publish(refused="-DGGML_CUDA=ON")
    engine.program("nvcc", "")
    engine.program("nvidia-smi", "echo 'GPU 0: NVIDIA GeForce RTX 4060 (UUID: GPU-1)'")
    done = engine.install()
    assert done.returncode == 0, done.stderr
    assert "Compiling for cuda failed" in done.stderr
    assert "GGML" not in engine.args()
    assert engine.install("cuda").returncode == 1  # who asks for it is told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--engine", "rocm"], "There is no engine 'rocm'."),
        (["--engine"], "--engine needs a name"),
        (["--engine=vulkan"], "sudo apt install glslc libvulkan-dev spirv-headers"),
        (["--engine=cuda"], "there is no nvcc"),
    ],
)
def test_an_engine_that_can_not_be_is_refused_in_one_line(
    clone: Path, env: dict[str, str], tmp_path: Path, arguments: list[str], said: str
) -> None:
    done = subprocess.run(
        ["bash", str(clone / "scripts" / "serve.sh"), *arguments],
        env=env | tools(tmp_path / "bin", *SHELL, "uname"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert said in done.stderr and done.stderr.count("\n") == 1
    assert not (clone / ".venv").exists()


@pytest.mark.skipif(not (shutil.which("cmake") and shutil.which("c++")), reason="needs CMake and a compiler")
def test_the_quick_build_leaves_out_common_and_joins_sources(clone: Path, tmp_path: Path) -> None:
    """As llama-cpp-python and llama.cpp do it: a cache entry that is forced, sources that are kept apart."""
    source = tmp_path / "source"
    folders = (source / "vendor", source / "mtmd")
    for folder in folders:
        folder.mkdir(parents=True)
    (source / "CMakeLists.txt").write_text(
        """
        cmake_minimum_required(VERSION 3.21)
        project(llama_cpp CXX)
        set(BUILD_SHARED_LIBS ON)
        set(LLAMA_BUILD_COMMON ON CACHE BOOL "" FORCE)
        add_subdirectory(vendor)
        add_subdirectory(mtmd)
        """
    )
    (source / "vendor" / "CMakeLists.txt").write_text(
        """
        cmake_minimum_required(VERSION 3.14...3.28)
        option(LLAMA_BUILD_COMMON "" ON)
        add_library(llama a.cpp b.cpp llama-kv-cache-dsv4.cpp)
        set_source_files_properties(a.cpp b.cpp PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
        if(LLAMA_BUILD_COMMON)
            message(FATAL_ERROR "common is built")
        endif()
        """
    )
    (source / "mtmd" / "CMakeLists.txt").write_text("add_library(mtmd mtmd.cpp clip.cpp mtmd-helper.cpp)")
    (source / "vendor" / "a.cpp").write_text("static int once() { return 1; }")
    (source / "vendor" / "b.cpp").write_text("int b() { return once(); }")  # known only where they are one
    (source / "vendor" / "llama-kv-cache-dsv4.cpp").write_text("static int once() { return 2; }")
    (source / "mtmd" / "mtmd.cpp").write_text("static int once() { return 1; }")
    (source / "mtmd" / "clip.cpp").write_text("int clip() { return once(); }")
    (source / "mtmd" / "mtmd-helper.cpp").write_text("static int once() { return 2; }")
    include = f"-D{QUICK}={clone}/scripts/engine.cmake"
    for command in (
        ["cmake", "-S", str(source), "-B", str(tmp_path / "b"), include],
        ["cmake", "--build", str(tmp_path / "b")],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
