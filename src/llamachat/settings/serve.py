"""The options of `llamachat serve`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import ByteSize, Field

from llamachat.settings.base import ApiKey, Options, StrList, option


class ServeSettings(Options):
    section: ClassVar[str] = "serve"

    model: str | None = option(
        None,
        "a GGUF file, or the name of a model (default: the only one there is, else the bundled demo)",
        flags=("-m",),
    )
    embeddings: str | None = option(
        None,
        "a model for /v1/embeddings beside the one that chats: a GGUF file, or the name of a model",
        metavar="MODEL",
    )
    mmproj: str | None = option(
        None,
        "the projector by which the model sees pictures (default: the one beside it); none for text alone",
        metavar="FILE",
    )
    host: str = option("127.0.0.1", "address to listen on; anything but loopback needs an API key")
    port: int = option(8000, "port to listen on", ge=0, le=65535)
    folder: str | None = option(None, "the models folder", metavar="DIR")
    n_ctx: int = option(
        2048, "context window in tokens, rounded up to a multiple of 256", flags=("--n_ctx",), ge=1
    )
    parallel: Annotated[int, Field(ge=1, le=64)] | Literal["auto"] = option(
        "auto",
        "requests that are served at once, each with a window of n_ctx; auto: what fits, up to 4",
        flags=("-np",),
        metavar="N",
    )
    n_threads: int | None = option(
        None,
        "a fixed number of threads (default: physical cores, fewer while other programs are busy)",
        flags=("--n_threads", "--threads"),
        ge=1,
    )
    n_gpu_layers: int | None = option(
        None,
        "layers to offload, -1 for all (default: all if the build can, else 0)",
        flags=("--n_gpu_layers",),
        ge=-1,
    )
    api_key: ApiKey | None = option(None, "key that clients must send", metavar="KEY", flags=("--api_key",))
    cors_origin: StrList = option(
        (), "a web origin that may use the server, in addition to loopback ones; may be repeated"
    )
    kv_shift: bool = option(True, "reuse the cache after a gap when old turns were dropped")
    kv_park: ByteSize | None = option(
        None, "memory for parked conversations, like 512M or 2G, 0 for none (default: 25% of free memory)"
    )
    keep: bool = option(True, "keep the cache of the last conversations on disk between starts")
    max_queue: int | None = option(
        None, "refuse a request with 503 if this many are waiting already (default: no limit)", ge=0
    )
    drain: float = option(
        10, "at SIGTERM, seconds for running requests to finish while new ones are refused", ge=0
    )
    chat: bool = option(False, "open a chat in this terminal when the server is ready")
    web: bool = option(False, "serve the page too, and print its address when the server is ready")
    plain: bool = option(False, "run the bare `python -m llama_cpp.server`, without llamachat's guards")
    print_command: bool = option(False, "print the `python -m llama_cpp.server` command line and exit")
    force: bool = option(False, "load the model even if it doesn't fit into memory")
    verbose: bool = option(False, "show the server's log")
