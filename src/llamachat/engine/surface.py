"""Every name of other packages' insides that the engine builds on, checked once before it starts.

A test compares this list with the code. An instance's attribute counts as there where its class's `__init__`
assigns it.
"""

from __future__ import annotations

import dis
import importlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from llamachat.errors import ServerError

HINT = "Install llama-cpp-python 0.3.36, or start with --plain."
"""What a user can do if the installed libraries are not what the engine builds on."""
SURFACE: Mapping[str, str] = {
    "llama_cpp": """
        LLAMA_TOKEN_ATTR_CONTROL LLAMA_TOKEN_ATTR_LSTRIP LLAMA_TOKEN_ATTR_RSTRIP LLAMA_TOKEN_ATTR_UNKNOWN
        LLAMA_POOLING_TYPE_NONE Llama LogitsProcessorList ggml_abort_callback llama_decode
        llama_get_embeddings llama_get_embeddings_seq llama_get_logits_ith llama_get_memory
        llama_memory_can_shift llama_memory_clear
        llama_memory_seq_add llama_memory_seq_pos_max llama_memory_seq_pos_min
        llama_memory_seq_rm llama_model_get_vocab llama_model_is_hybrid llama_model_is_recurrent
        llama_model_n_ctx_train llama_model_n_swa llama_n_ctx_seq llama_n_seq_max llama_n_threads
        llama_n_threads_batch llama_pos llama_set_abort_callback llama_set_n_threads
        llama_state_seq_get_data
        llama_state_seq_get_size llama_state_seq_set_data llama_synchronize llama_vocab_fim_mid
        llama_vocab_fim_pre llama_vocab_fim_suf llama_vocab_get_add_bos
        llama_vocab_get_add_eos llama_vocab_get_attr llama_vocab_get_text llama_vocab_is_eog
        llama_pooling_type llama_vocab_n_tokens
    """,
    "llama_cpp.llama_cpp": """
        llama_model_default_params llama_print_system_info
    """,
    "llama_cpp.llama": "Llama",
    "llama_cpp._ggml": "libggml",
    "llama_cpp.mtmd_cpp": """
        MTMD_INPUT_CHUNK_TYPE_TEXT mtmd_bitmap_free mtmd_bitmap_p_ctypes mtmd_context_params_default
        mtmd_default_marker mtmd_free mtmd_helper_bitmap_init_from_buf mtmd_helper_eval_chunk_single
        mtmd_init_from_file mtmd_input_chunk_copy mtmd_input_chunk_free mtmd_input_chunk_get_n_pos
        mtmd_input_chunk_get_tokens_text mtmd_input_chunk_get_type mtmd_input_chunks_free
        mtmd_input_chunks_get mtmd_input_chunks_init mtmd_input_chunks_size mtmd_input_text
        mtmd_support_vision mtmd_tokenize
    """,
    "llama_cpp.Llama": """
        _batch _ctx _is_hybrid _is_recurrent _logits_all _sampler _seed _stack cache chat_format chat_handler
        context_params create_chat_completion create_completion ctx detokenize eval generate
        input_ids kv_overrides lora_path lora_scale metadata model model_params model_path n_batch n_ctx
        n_embd n_threads n_tokens n_vocab reset sample token_bos token_eos tokenize tokenizer_ verbose
    """,
    "llama_cpp.LlamaGrammar": "_grammar",
    "llama_cpp._internals": "LlamaContext",
    "llama_cpp._internals.LlamaBatch": "add_sequence batch",
    "llama_cpp._internals.LlamaContext": "ctx decode",
    "llama_cpp._internals.LlamaSampler": "sample",
    "llama_cpp.llama_batch": "logits n_seq_id n_tokens pos seq_id token",
    "llama_cpp.llama_model_params": "n_gpu_layers use_extra_bufts",
    "llama_cpp.llama_context_params": """
        embeddings flash_attn_type n_batch n_ctx n_seq_max n_ubatch offload_kqv rope_freq_base rope_freq_scale
        rope_scaling_type type_k type_v yarn_attn_factor yarn_beta_fast yarn_beta_slow yarn_ext_factor
        yarn_orig_ctx
    """,
    "llama_cpp.llama_tokenizer": "LlamaTokenizer",
    "llama_cpp.server.app": """
        _llama_proxy authenticate create_app create_chat_completion create_completion get_event_publisher
        get_llama_proxy
        get_server_settings prepare_request_resources router
    """,
    "llama_cpp.server.types": """
        CreateChatCompletionRequest CreateCompletionRequest DetokenizeInputRequest
        TokenizeInputRequest
    """,
    "uvicorn": "Server",
    "uvicorn.Server": "should_exit",
    "sse_starlette.sse": "AppStatus EventSourceResponse",
    "sse_starlette.sse.EventSourceResponse": "DEFAULT_PING_INTERVAL",
    "sse_starlette.sse.AppStatus": "enable_automatic_graceful_drain should_exit",
    "starlette.concurrency": "run_in_threadpool",
    "starlette.exceptions": "HTTPException",
    "starlette.middleware.cors": "CORSMiddleware",
    "starlette.types": "ASGIApp Message Receive Scope Send",
    "fastapi": "APIRouter Depends FastAPI HTTPException Request Response",
    "fastapi.FastAPI": """
        add_api_route add_exception_handler add_middleware dependency_overrides router state
        user_middleware
    """,
    "fastapi.responses": "JSONResponse",
    "fastapi.routing": "APIRoute",
    "fastapi.APIRouter": "lifespan_context routes",
}


def check() -> None:
    """Raise ServerError if a name is missing."""
    if missing := list(_missing()):
        raise ServerError(
            f"The engine needs {', '.join(missing)}, which the installed version does not have.",
            HINT,
        )


def _missing() -> Iterator[str]:
    for path, names in SURFACE.items():
        holder = _find(path)
        if holder is None:
            yield path
            continue
        assigned = _assigned(holder) if isinstance(holder, type) else set()
        for name in names.split():
            if not hasattr(holder, name) and name not in assigned:
                yield f"{path}.{name}"


def _find(path: str) -> Any:
    """A module, or a class in one."""
    try:
        return importlib.import_module(path)
    except ImportError:
        module, _, name = path.rpartition(".")
        return getattr(sys.modules.get(module) or _find(module), name, None)


def _assigned(kind: type) -> set[str]:
    """The attributes that `__init__` of the class, or of one that it extends, gives an instance."""
    inits = (vars(base)["__init__"] for base in kind.__mro__ if "__init__" in vars(base))
    codes = (init for init in inits if hasattr(init, "__code__"))
    return {i.argval for code in codes for i in dis.get_instructions(code) if i.opname == "STORE_ATTR"}
