"""The engine's guards, each in a process of its own, as the launcher starts it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# llama_print_system_info is what a library that was built on a CPU with AMX says; the rest is real.
ON_AMX = """
import sys
import llama_cpp.llama_cpp as library
library.llama_print_system_info = lambda: b"CPU : AVX512 = 1 | AMX_INT8 = {built} | "
from llamachat.engine import amx
if {guarded}:
    amx.avoid()
from llama_cpp import Llama
llama = Llama(sys.argv[1], n_ctx=256, logits_all=False, verbose=False)
print(llama.model_params.use_extra_bufts, len(llama("Hi", max_tokens=1)["choices"]))
"""


def run(code: str, *args: str, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("built", "guarded", "extra_buffers"), [(1, True, False), (1, False, True), (0, True, True)]
)
def test_amx_buffers_are_off_where_the_library_has_amx(
    small_model: Path, built: int, guarded: bool, extra_buffers: bool
) -> None:
    code = ON_AMX.format(built=built, guarded=guarded)
    assert run(code, str(small_model)).split() == [str(extra_buffers), "1"]


@pytest.mark.parametrize(
    ("holder", "name"),
    [
        ("llama_cpp.server.app", "get_event_publisher"),
        ("llama_cpp.server.app", "prepare_request_resources"),
        ("llama_cpp.server.app", "create_app"),
        ("llama_cpp.server.app", "get_llama_proxy"),
        ("llama_cpp", "llama_set_abort_callback"),
        ("llama_cpp", "llama_vocab_get_attr"),
        ("llama_cpp.llama_cpp", "llama_model_default_params"),
        ("llama_cpp.Llama", "detokenize"),
    ],
)
def test_a_missing_name_stops_the_start_with_a_clear_message(holder: str, name: str) -> None:
    code = f"""
import llama_cpp, llama_cpp.server.app
del {holder}.{name}
from llamachat.engine.__main__ import main
raise SystemExit(main())
"""
    said = run(code, status=5)
    assert said.startswith("llamachat: ") and name in said and said.count("\n") == 1


def test_a_route_that_would_not_be_queued_stops_the_start() -> None:
    code = """
import llama_cpp.server.app as server
@server.router.post("/v1/responses")
def responses(): ...
from llamachat.engine.__main__ import main
raise SystemExit(main())
"""
    said = run(code, status=5)
    assert said.startswith("llamachat: ") and "/v1/responses" in said
