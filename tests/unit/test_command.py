"""The child's command line and environment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llamachat.core.engine_options import EngineOptions
from llamachat.errors import UsageError
from llamachat.server import command

OPTIONS = command.ServerOptions(Path("/a b/m.gguf"), "127.0.0.1", 8000, 2048, 4, 0, ("--n_batch", "256"))


def test_the_list_of_variables_is_that_of_the_real_server() -> None:
    from llama_cpp.server.settings import Settings

    assert set(Settings.model_fields) | {"host", "port", "config_file"} == command.SERVER_VARIABLES


@pytest.mark.parametrize(
    ("asked", "given"), [(1, 256), (256, 256), (257, 512), (2000, 2048), (2048, 2048), (8191, 8192)]
)
def test_n_ctx_is_rounded_up_to_a_multiple_of_256(asked: int, given: int) -> None:
    assert command.round_n_ctx(asked) == given


def test_the_real_server_takes_the_arguments() -> None:
    import argparse

    from llama_cpp.server.cli import add_args_from_model
    from llama_cpp.server.settings import Settings

    parser = argparse.ArgumentParser()
    add_args_from_model(parser, Settings)
    parsed = parser.parse_args(command.argv(OPTIONS))
    assert (parsed.model, parsed.port, parsed.n_ctx, parsed.n_threads) == ("/a b/m.gguf", 8000, 2048, 4)
    assert (parsed.interrupt_requests, parsed.logits_all, parsed.use_mlock) == (False, False, False)
    assert (parsed.n_batch, parsed.n_ubatch) == (256, 256)


def test_a_gpu_gets_the_library_s_own_n_ubatch() -> None:
    assert "--n_ubatch" not in command.argv(replace(OPTIONS, n_gpu_layers=-1))


def test_the_engine_gets_the_same_arguments_as_the_bare_server() -> None:
    assert command.engine_command(OPTIONS)[3:] == command.plain_command(OPTIONS)[3:]
    assert command.plain_command(OPTIONS)[1:3] == ["-m", "llama_cpp.server"]


def test_a_path_with_a_space_is_quoted() -> None:
    assert "'/a b/m.gguf'" in command.quote(command.plain_command(OPTIONS))


def test_the_environment_loses_what_would_reconfigure_the_server_in_any_case_of_letters() -> None:
    dirty = {
        "HOST": "x",
        "Port": "y",
        "cache": "z",
        "SEED": "1",
        "Model": "m",
        "CONFIG_FILE": "f",
        "API_KEY": "k",
    }
    clean = command.child_env({**dirty, "PATH": "/bin", "LLAMACHAT_ENGINE": "{}"}, None, None)
    assert clean == {
        "PATH": "/bin",
        "LLAMACHAT_LANG": "en",
        "PYTHONUTF8": "1",
        "PYTHONUNBUFFERED": "1",
        "GOMP_SPINCOUNT": str(command.SPINS),
    }


@pytest.mark.parametrize("own", [{"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "active"}])
def test_who_says_how_openmp_waits_is_obeyed(own: dict[str, str]) -> None:
    env = command.child_env(own, None, None)
    assert {name: value for name, value in env.items() if "OMP" in name} == own


def test_the_key_travels_in_the_environment_only() -> None:
    env = command.child_env({"API_KEY": "stray"}, "secret", EngineOptions(model_name="m"))
    assert env["API_KEY"] == "secret"
    assert EngineOptions.from_json(env["LLAMACHAT_ENGINE"]).model_name == "m"
    assert "secret" not in command.engine_command(OPTIONS)


def test_behind_the_dashes_serves_own_options_are_taken_out_and_the_last_one_wins() -> None:
    extra = ["--port", "9", "--n_batch", "256", "--port=10", "--api_key=x", "--verbose", "false"]
    assert command.split_extra(extra) == (
        {"port": "10", "api_key": "x"},
        ["--n_batch", "256", "--verbose", "false"],
    )


@pytest.mark.parametrize("extra", [["--config_file", "f"], ["--config_file=f"], ["--por", "9"], ["--port"]])
def test_what_would_lead_the_server_out_of_sight_is_refused_behind_the_dashes(extra: list[str]) -> None:
    with pytest.raises(UsageError, match=extra[0].split("=")[0]):
        command.split_extra(extra)


def test_other_flags_go_to_the_server_as_they_are() -> None:
    extra = ["--n_batch", "256", "--chat_format=llama-3", "--n_threads_batch", "2"]
    assert command.split_extra(extra) == ({}, extra)


def test_a_key_for_tls_changes_the_scheme() -> None:
    assert OPTIONS.scheme == "http"
    assert command.ServerOptions(Path("m"), "h", 1, 256, 1, 0, ("--ssl_keyfile", "k")).scheme == "https"
