"""`/v1/embeddings`: vectors of texts, from a model beside the one that chats, or one that is served alone."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import llama_cpp
import numpy as np
import numpy.typing as npt
from llama_cpp.llama import Llama
from pydantic import BaseModel

from llamachat.engine import jobs, model_thread
from llamachat.engine.body_limits import check_ids
from llamachat.engine.failures import Refused
from llamachat.errors import ServerError

MAX_INPUTS = 2048
FORMATS = ("float", "base64")
Vectors = npt.NDArray[np.single]


class EmbeddingRequest(BaseModel):
    """As `request` leaves it."""

    input: list[str | list[int]]
    dimensions: int | None = None
    encoding_format: str = "float"


def request(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of `/v1/embeddings`, `input` as a list of texts and lists of tokens; raises Refused."""
    wanted = {name: value for name, value in body.items() if value is not None}
    given = wanted.get("input")
    single = isinstance(given, str) or (isinstance(given, list) and bool(given) and _is_token(given[0]))
    inputs = [given] if single else given
    if not isinstance(inputs, list) or not 0 < len(inputs) <= MAX_INPUTS:
        message = f"`input` must be a text, a list of tokens, or a list of 1 to {MAX_INPUTS} of these."
        raise Refused(400, message, param="input")
    for number, each in enumerate(inputs):
        if not isinstance(each, str) and not (isinstance(each, list) and all(map(_is_token, each))):
            raise Refused(400, f"input[{number}] must be a text or a list of tokens.", param="input")
        if not each:
            raise Refused(400, f"input[{number}] is empty.", param="input")
    if wanted.get("encoding_format", "float") not in FORMATS:
        message = f"encoding_format must be one of {', '.join(FORMATS)}."
        raise Refused(400, message, param="encoding_format")
    dimensions = wanted.get("dimensions", 1)
    if not _is_token(dimensions) or dimensions < 1:
        raise Refused(400, "dimensions must be a whole number from 1.", param="dimensions")
    return {**wanted, "input": inputs}


def _is_token(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def open_model(path: str, n_ctx: int, beside: Llama) -> Llama:
    """A second model in this process, on the devices of the first; raises ServerError."""
    with suppress(ValueError, RuntimeError):
        return Llama(
            path,
            embedding=True,
            n_ctx=n_ctx,
            n_batch=n_ctx,
            n_ubatch=n_ctx,  # models that read in both directions read an input at once
            n_threads=beside.n_threads,
            n_threads_batch=beside.n_threads,
            n_gpu_layers=beside.model_params.n_gpu_layers,
            verbose=beside.verbose,
        )
    raise ServerError(f"The embeddings model {path} could not be loaded.", "--verbose shows why.")


class Embedder:
    """Reads inputs in batches, each a piece of work of the model's thread: chats go on between them."""

    def __init__(self, llama: Llama, name: str) -> None:
        self.llama, self.name = llama, name
        self.n_ctx = min(llama.n_ctx(), llama.n_batch)

    def answer(self, body: Mapping[str, Any]) -> bytes:
        """To what `request` made, in OpenAI's form, as JSON; raises Refused."""
        n_embd, dimensions = self.llama.n_embd(), body.get("dimensions")
        if dimensions is not None and dimensions > n_embd:
            message = f"dimensions is {dimensions}, but the vectors of {self.name} have {n_embd}."
            raise Refused(400, message, param="dimensions")
        inputs = [self._tokens(each, f"input[{number}]") for number, each in enumerate(body["input"])]
        vectors = _normalized(self._vectors(inputs)[:, :dimensions])
        in_base64 = body.get("encoding_format") == "base64"
        n_tokens = sum(map(len, inputs))
        value = {
            "object": "list",
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": _in_base64(vector) if in_base64 else vector.tolist(),
                }
                for index, vector in enumerate(vectors)
            ],
            "model": self.name,
            "usage": {"prompt_tokens": n_tokens, "total_tokens": n_tokens},
        }
        return json.dumps(value).encode()

    def _tokens(self, given: str | list[int], where: str) -> list[int]:
        tokens = self.llama.tokenize(given.encode()) if isinstance(given, str) else given
        check_ids(tokens, self.llama.n_vocab(), "input", where, self.name)
        if len(tokens) > self.n_ctx:
            raise Refused(
                400,
                f"{where} has {len(tokens)} tokens, but {self.name} reads {self.n_ctx}. Send it in parts.",
                param="input",
                code="context_length_exceeded",
                n_prompt_tokens=len(tokens),
                n_ctx=self.n_ctx,
            )
        return tokens

    def _vectors(self, inputs: Sequence[Sequence[int]]) -> Vectors:
        """One row for each of `inputs`, of shape (len(inputs), n_embd)."""
        job = jobs.current.get()
        if job is not None:
            job.begin(sum(map(len, inputs)))
        rows = []
        for batch in batches(inputs, self.n_ctx, self.llama.context_params.n_seq_max):
            if job is not None:
                job.check()
            rows.append(model_thread.run(partial(self._read, batch)))
            if job is not None:
                job.took(sum(map(len, batch)))
        return np.concatenate(rows)

    def _read(self, inputs: Sequence[Sequence[int]]) -> Vectors:
        """Compute one batch."""
        context, inputs_batch, n_embd = self.llama._ctx, self.llama._batch, self.llama.n_embd()
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context.ctx), True)
        inputs_batch.batch.n_tokens = 0
        for seq, tokens in enumerate(inputs):
            inputs_batch.add_sequence(tokens, seq, True)
        context.decode(inputs_batch)
        if llama_cpp.llama_pooling_type(context.ctx) != llama_cpp.LLAMA_POOLING_TYPE_NONE:
            pooled = [llama_cpp.llama_get_embeddings_seq(context.ctx, seq) for seq in range(len(inputs))]
            return np.stack([np.ctypeslib.as_array(row, shape=(n_embd,)).copy() for row in pooled])
        # A model that was made to write: the mean of what it makes of each token.
        n_tokens = sum(map(len, inputs))
        outputs = np.ctypeslib.as_array(llama_cpp.llama_get_embeddings(context.ctx), shape=(n_tokens, n_embd))
        ends = np.cumsum([len(tokens) for tokens in inputs])
        return np.stack([part.mean(axis=0) for part in np.split(outputs, ends[:-1])])


def batches(inputs: Iterable[Sequence[int]], n_tokens: int, n_inputs: int) -> Iterator[list[Sequence[int]]]:
    """As many inputs at a time as fit, in their order."""
    group: list[Sequence[int]] = []
    size = 0
    for tokens in inputs:
        if group and (size + len(tokens) > n_tokens or len(group) == n_inputs):
            yield group
            group, size = [], 0
        group.append(tokens)
        size += len(tokens)
    yield group


def _normalized(vectors: Vectors) -> Vectors:
    """Of length 1, as OpenAI's are."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Vectors = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.single)
    return scaled


def _in_base64(vector: Vectors) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
