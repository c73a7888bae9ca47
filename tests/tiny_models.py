"""GGUF files of some hundred kilobytes with random weights, one for each kind of memory in llama.cpp."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from gguf import GGUFWriter, PoolingType, TokenType

N_EMBD = 64
N_HEAD = 4
N_FF = 128
N_LAYER = 2
WORDS = 256


class _Model:
    def __init__(
        self, path: Path, architecture: str, control: Sequence[str] = (), template: str | None = None
    ) -> None:
        self.random = np.random.default_rng(7)
        self.writer = GGUFWriter(path, architecture)
        self.writer.add_context_length(2048)
        self.writer.add_embedding_length(N_EMBD)
        self.writer.add_block_count(N_LAYER)
        self.writer.add_layer_norm_rms_eps(1e-5)
        self._add_vocabulary(control)
        if template is not None:
            self.writer.add_chat_template(template)

    def _add_vocabulary(self, control: Sequence[str]) -> None:
        tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
        tokens += [f"▁w{i}" for i in range(WORDS)]
        kinds = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL, *[TokenType.BYTE] * 256]
        kinds += [TokenType.NORMAL] * WORDS
        tokens += control
        kinds += [TokenType.CONTROL] * len(control)
        self.writer.add_tokenizer_model("llama")
        self.writer.add_token_list(tokens)
        self.writer.add_token_scores([0.0] * len(tokens))
        self.writer.add_token_types(kinds)
        self.writer.add_bos_token_id(1)
        self.writer.add_eos_token_id(2)
        self.n_vocab = len(tokens)

    def matrix(self, name: str, *shape: int) -> None:
        self.tensor(name, self.random.normal(0, 0.3, shape).astype(np.float32))

    def ones(self, *names: str) -> None:
        for name in names:
            self.tensor(name, np.ones(N_EMBD, np.float32))

    def tensor(self, name: str, values: npt.NDArray[np.float32]) -> None:
        self.writer.add_tensor(f"{name}.weight", values)

    def save(self) -> None:
        self.matrix("token_embd", self.n_vocab, N_EMBD)
        self.ones("output_norm")
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()


def write_llama(path: Path, control: Sequence[str] = (), template: str | None = None) -> Path:
    """Full attention: cells can be moved and copied. `control` are further control tokens."""
    model = _Model(path, "llama", control, template)
    _attention(model, extra_norms=())
    model.save()
    return path


def write_sliding_window(path: Path, window: int = 16) -> Path:
    """Gemma 2: every other layer sees `window` tokens only."""
    model = _Model(path, "gemma2")
    model.writer.add_sliding_window(window)
    model.writer.add_attn_logit_softcapping(50.0)
    model.writer.add_final_logit_softcapping(30.0)
    model.writer.add_key_length(N_EMBD // N_HEAD)
    model.writer.add_value_length(N_EMBD // N_HEAD)
    _attention(model, extra_norms=("post_attention_norm", "post_ffw_norm"))
    model.save()
    return path


def write_recurrent(path: Path) -> Path:
    """Mamba: one state for the whole sequence, no cells."""
    model = _Model(path, "mamba")
    inner, state, conv, rank = 2 * N_EMBD, 16, 4, 4
    model.writer.add_feed_forward_length(0)
    model.writer.add_head_count(0)
    model.writer.add_ssm_conv_kernel(conv)
    model.writer.add_ssm_inner_size(inner)
    model.writer.add_ssm_state_size(state)
    model.writer.add_ssm_time_step_rank(rank)
    for layer in range(N_LAYER):
        block = f"blk.{layer}."
        model.ones(f"{block}attn_norm")
        model.matrix(f"{block}ssm_in", 2 * inner, N_EMBD)
        model.matrix(f"{block}ssm_conv1d", inner, conv)
        model.writer.add_tensor(f"{block}ssm_conv1d.bias", np.zeros(inner, np.float32))
        model.matrix(f"{block}ssm_x", rank + 2 * state, inner)
        model.matrix(f"{block}ssm_dt", inner, rank)
        model.writer.add_tensor(f"{block}ssm_dt.bias", np.zeros(inner, np.float32))
        model.writer.add_tensor(f"{block}ssm_a", -np.ones((inner, state), np.float32))
        model.writer.add_tensor(f"{block}ssm_d", np.ones(inner, np.float32))
        model.matrix(f"{block}ssm_out", N_EMBD, inner)
    model.save()
    return path


def write_bert(path: Path, n_ctx: int = 512) -> Path:
    """BERT: reads in both directions, and makes embeddings. A word piece is a letter."""
    model = GGUFWriter(path, "bert")
    model.add_context_length(n_ctx)
    model.add_embedding_length(N_EMBD)
    model.add_block_count(N_LAYER)
    model.add_feed_forward_length(N_FF)
    model.add_head_count(N_HEAD)
    model.add_layer_norm_eps(1e-12)
    model.add_causal_attention(False)
    model.add_pooling_type(PoolingType.MEAN)
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,!?"
    kinds = [TokenType.CONTROL] * len(tokens) + [TokenType.NORMAL] * 2 * len(letters)
    tokens += [f"▁{letter}" for letter in letters] + list(letters)
    model.add_tokenizer_model("bert")
    model.add_token_type_count(2)
    model.add_token_list(tokens)
    model.add_token_scores([0.0] * len(tokens))
    model.add_token_types(kinds)
    model.add_pad_token_id(0)
    model.add_unk_token_id(1)
    model.add_bos_token_id(2)
    model.add_sep_token_id(3)
    model.add_mask_token_id(4)
    random = np.random.default_rng(7)

    def add(name: str, *shape: int) -> None:
        model.add_tensor(f"{name}.weight", random.normal(0, 0.3, shape).astype(np.float32))
        if len(shape) == 1 or name.startswith("blk."):
            model.add_tensor(f"{name}.bias", random.normal(0, 0.3, shape[:1]).astype(np.float32))

    add("token_embd", len(tokens), N_EMBD)
    add("token_types", 2, N_EMBD)
    add("position_embd", n_ctx, N_EMBD)
    add("token_embd_norm", N_EMBD)
    for layer in range(N_LAYER):
        block = f"blk.{layer}."
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(block + name, N_EMBD, N_EMBD)
        add(f"{block}attn_output_norm", N_EMBD)
        add(f"{block}ffn_up", N_FF, N_EMBD)
        add(f"{block}ffn_down", N_EMBD, N_FF)
        add(f"{block}layer_output_norm", N_EMBD)
    model.write_header_to_file()
    model.write_kv_data_to_file()
    model.write_tensors_to_file()
    model.close()
    return path


def _attention(model: _Model, extra_norms: tuple[str, ...]) -> None:
    model.writer.add_feed_forward_length(N_FF)
    model.writer.add_head_count(N_HEAD)
    model.writer.add_head_count_kv(N_HEAD)
    for layer in range(N_LAYER):
        block = f"blk.{layer}."
        model.ones(*(block + norm for norm in ("attn_norm", "ffn_norm", *extra_norms)))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            model.matrix(block + name, N_EMBD, N_EMBD)
        model.matrix(f"{block}ffn_gate", N_FF, N_EMBD)
        model.matrix(f"{block}ffn_up", N_FF, N_EMBD)
        model.matrix(f"{block}ffn_down", N_EMBD, N_FF)
