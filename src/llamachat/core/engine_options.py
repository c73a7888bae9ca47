"""What the launcher tells the engine beyond `llama_cpp.server`'s own flags.

The child's argv is exactly that of `python -m llama_cpp.server`, so these travel in one environment variable.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

ENVIRONMENT_VARIABLE = "LLAMACHAT_ENGINE"


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """`kv_park`: bytes for parked conversations, 0 for none; the launcher knows what is free.

    `adapt_threads`: fewer threads compute while other programs are busy with more than `spare_cores`.
    `chats` is false if the model makes embeddings and not text. `embeddings` is the file of another that
    makes them, and `embeddings_n_ctx` its longest input.
    `mmproj` is the file by which the model sees pictures, None for none.
    `parallel`: so many requests are served at once.
    `cache_dir` is the folder where KV state is kept between starts, None for none.
    A request that finds `max_queue` others waiting is refused, None for no limit. `restarts` is how often the
    launcher started the engine before.
    `host` is what the server is bound to: other `Host` headers are refused.
    """

    host: str = "127.0.0.1"
    model_name: str = ""
    bundled: bool = False
    adapt_threads: bool = True
    spare_cores: int = 0
    chats: bool = True
    embeddings: str | None = None
    embeddings_name: str = ""
    embeddings_n_ctx: int = 512
    mmproj: str | None = None
    parallel: int = 1
    kv_shift: bool = True
    kv_park: int = 1 << 30
    cache_dir: str | None = None
    cors_origins: tuple[str, ...] = ()
    max_queue: int | None = None
    restarts: int = 0
    parent_pid: int | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> EngineOptions:
        values = json.loads(text)
        values["cors_origins"] = tuple(values.get("cors_origins", ()))
        return cls(**values)
