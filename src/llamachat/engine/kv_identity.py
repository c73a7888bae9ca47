"""Which model and settings a KV state belongs to, whatever the model's path is."""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path
from typing import Any

import llama_cpp

SAMPLES = 16
SAMPLE_BYTES = 1 << 16
CONTEXT_FIELDS = (
    "n_batch",
    "n_ubatch",
    "flash_attn_type",
    "type_k",
    "type_v",
    "rope_scaling_type",
    "rope_freq_base",
    "rope_freq_scale",
    "yarn_ext_factor",
    "yarn_attn_factor",
    "yarn_beta_fast",
    "yarn_beta_slow",
    "yarn_orig_ctx",
    "offload_kqv",
)
"""What a cell's bits depend on besides the model."""


def identity(llama: Any) -> dict[str, str]:
    """The key of `kv_keep`, of a loaded `llama_cpp.Llama`."""
    context_params = llama.context_params
    adapter = fingerprint(Path(llama.lora_path)) if llama.lora_path else ""
    settings = (llama.model_params.n_gpu_layers, llama.kv_overrides, adapter, llama.lora_scale)
    return {
        "library": importlib.metadata.version("llama-cpp-python"),
        "model": fingerprint(Path(llama.model_path)),
        "n_ctx": str(llama.n_ctx()),
        "sequences": str(llama_cpp.llama_n_seq_max(llama.ctx)),  # a state says how many its context has
        "context": " ".join(str(getattr(context_params, name)) for name in CONTEXT_FIELDS),
        "model_settings": repr(settings),
    }


def fingerprint(path: Path) -> str:
    """Of a file's size, head, tail and samples in between: a copy has the same, another model does not."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for i in range(SAMPLES):
            file.seek(max(size - SAMPLE_BYTES, 0) * i // (SAMPLES - 1))
            digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()
