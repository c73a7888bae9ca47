"""The child's command line and environment: pure functions of the options."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llamachat.core.engine_options import ENVIRONMENT_VARIABLE, EngineOptions
from llamachat.errors import UsageError
from llamachat.language import VARIABLE, _

N_CTX_STEP = 256
CPU_UBATCH = 256
SPINS = 1000
"""How often GNU's OpenMP looks whether a barrier is passed before it sleeps; its own default is 300,000.

At a barrier that lasts longer, a thread has lost its core: the CPU time of waiting is better spent on that.
"""

# llama_cpp.server also reads every field of its settings from the environment, without a prefix and in any
# case; HOST, PORT and CONFIG_FILE even override the command line. A test compares this list with the fields.
_VARIABLES = """
    api_key cache cache_size cache_type chat_format chat_template_kwargs clip_model_path config_file
    disable_ping_events draft_model draft_model_num_pred_tokens embedding flash_attn hf_model_repo_id
    hf_pretrained_model_name_or_path hf_tokenizer_config_path host interrupt_requests kv_overrides
    last_n_tokens_size logits_all lora_base lora_path main_gpu model model_alias mul_mat_q n_batch n_ctx
    n_gpu_layers n_threads n_threads_batch n_ubatch numa offload_kqv port root_path rope_freq_base
    rope_freq_scale rope_scaling_type rpc_servers seed split_mode ssl_certfile ssl_keyfile tensor_split
    type_k type_v use_mlock use_mmap verbose vocab_only yarn_attn_factor yarn_beta_fast yarn_beta_slow
    yarn_ext_factor yarn_orig_ctx
"""
SERVER_VARIABLES = frozenset(_VARIABLES.split())

# Options that `llamachat serve` has too, and whose values it must know.
_OWN_FLAGS = ("model", "host", "port", "n_ctx", "n_threads", "n_gpu_layers", "api_key")


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What `llama_cpp.server` is started with; `extra` is passed on unchanged."""

    model: Path
    host: str
    port: int
    n_ctx: int
    n_threads: int
    n_gpu_layers: int
    extra: tuple[str, ...] = ()
    n_threads_batch: int = 0
    """Threads that read a prompt, 0 for as many as write."""
    embedding: bool = False
    """The model makes embeddings, and reads an input at once."""

    @property
    def scheme(self) -> str:
        return "https" if any(e.split("=")[0] == "--ssl_keyfile" for e in self.extra) else "http"


def round_n_ctx(n_ctx: int) -> int:
    """The next multiple of 256; llama.cpp pads to it, and llama-cpp-python breaks if the two differ."""
    return -(-n_ctx // N_CTX_STEP) * N_CTX_STEP


def argv(options: ServerOptions) -> list[str]:
    """The arguments of `llama_cpp.server`.

    Its defaults are wrong for a chat on a laptop: a second request ends a running stream, the logits of
    every prompt token are kept (n_ctx × n_vocab float32), all weights are locked into memory, and prompts
    are read by every CPU even if n_threads is fewer.
    """
    flags: dict[str, object] = {
        "model": options.model,
        "host": options.host,
        "port": options.port,
        "n_ctx": options.n_ctx,
        "n_threads": options.n_threads,
        "n_threads_batch": options.n_threads_batch or options.n_threads,
        "n_gpu_layers": options.n_gpu_layers,
        "interrupt_requests": "false",
        "logits_all": "false",
        "use_mlock": "false",
    }
    if options.embedding:
        flags |= {"embedding": "true", "n_batch": options.n_ctx, "n_ubatch": options.n_ctx}
    elif not options.n_gpu_layers:
        flags["n_ubatch"] = CPU_UBATCH
    pairs = ((f"--{name}", str(value)) for name, value in flags.items())
    return [*(part for pair in pairs for part in pair), *options.extra]


def plain_command(options: ServerOptions) -> list[str]:
    return [sys.executable, "-m", "llama_cpp.server", *argv(options)]


def engine_command(options: ServerOptions) -> list[str]:
    return [sys.executable, "-m", "llamachat.engine", *argv(options)]


def quote(command: Sequence[str]) -> str:
    """`command` as one would type it into this system's shell."""
    return subprocess.list2cmdline(command) if os.name == "nt" else shlex.join(command)


def child_env(
    environ: Mapping[str, str], api_key: str | None, engine: EngineOptions | None
) -> dict[str, str]:
    """`environ` without variables that reconfigure the server, and with the key, which `ps` must not show."""
    env = {name: value for name, value in environ.items() if name.lower() not in SERVER_VARIABLES}
    env.pop(ENVIRONMENT_VARIABLE, None)
    env[VARIABLE] = "en"  # what an API answers is the same everywhere
    env["PYTHONUTF8"] = "1"
    env["PYTHONUNBUFFERED"] = "1"
    if "OMP_WAIT_POLICY" not in env:  # who sets it decides how to wait
        env.setdefault("GOMP_SPINCOUNT", str(SPINS))
    if api_key:
        env["API_KEY"] = api_key
    if engine:
        env[ENVIRONMENT_VARIABLE] = engine.to_json()
    return env


def split_extra(extra: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Split what follows `--` into serve's own options, which win over those before it, and the rest.

    The server uses the last of several values, so that is the one that serve checks.
    Raises UsageError.
    """
    parser = argparse.ArgumentParser(
        add_help=False, allow_abbrev=False, exit_on_error=False, argument_default=argparse.SUPPRESS
    )
    for name in _OWN_FLAGS:
        parser.add_argument(f"--{name}")
    try:
        own, rest = parser.parse_known_args(list(extra))
    except argparse.ArgumentError as error:
        raise UsageError(_("After `--`: {error}.").format(error=error)) from error
    for name in (part.removeprefix("--").split("=")[0] for part in rest if part.startswith("--")):
        _check_name(name)
    return vars(own), rest


def _check_name(name: str) -> None:
    if name == "config_file":
        raise UsageError(
            _("--config_file would replace everything that `llamachat serve` sets."), _("Remove it.")
        )
    # The server accepts abbreviations: `--por 9` would move it to a port that serve does not know.
    meant = [own for own in (*_OWN_FLAGS, "config_file") if name and own.startswith(name)]
    if meant and name not in SERVER_VARIABLES:
        raise UsageError(
            _("--{name} is an abbreviated option.").format(name=name),
            _("Use --{meant}.").format(meant=meant[0]),
        )
