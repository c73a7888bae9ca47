"""`python -m llamachat.engine.probe [MODEL]`: how the engine was built, and one token to prove that it runs.

Prints one line of JSON before it loads the model and one after its token, so that the first is there even
where the second kills the process.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time
from typing import Any

from llamachat.engine import amx

PROMPT = "The capital of France is"


def main(arguments: list[str]) -> None:
    amx.avoid()
    _tell(_build())
    for path in arguments[:1]:
        _tell(_generate(path))


def _build() -> dict[str, Any]:
    import llama_cpp.llama_cpp as library

    return {
        "version": importlib.metadata.version("llama-cpp-python"),
        "system_info": library.llama_print_system_info().decode(),
        "gpu_offload": bool(library.llama_supports_gpu_offload()),
    }


def _generate(path: str) -> dict[str, Any]:
    import llama_cpp

    started = time.monotonic()
    llama = llama_cpp.Llama(path, n_ctx=256, verbose=False)
    reply: Any = llama(PROMPT, max_tokens=1, temperature=0)
    return {"token": reply["choices"][0]["text"], "seconds": round(time.monotonic() - started, 2)}


def _tell(facts: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
