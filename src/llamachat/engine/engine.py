"""The model as the server uses it: one class, its methods in the order in which a request meets them."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import cached_property, partial
from typing import Any, ClassVar

import llama_cpp
import llama_cpp._internals as internals
import numpy as np
import numpy.typing as npt
from llama_cpp.llama_tokenizer import LlamaTokenizer

from llamachat.core import shutdown
from llamachat.core.engine_options import EngineOptions
from llamachat.engine import (
    constraint,
    grammar_jobs,
    jobs,
    logprobs,
    marks,
    model_thread,
    request_body,
    tool_turn,
)
from llamachat.engine.answer_length import longest_answer
from llamachat.engine.body_limits import check_ids
from llamachat.engine.compiler import Compiler, Rules, refusing
from llamachat.engine.failures import Refused, refusal
from llamachat.engine.jobs import Cancelled, Job
from llamachat.engine.kv_cache import KvCache
from llamachat.engine.kv_plan import batches
from llamachat.engine.kv_state import Cells
from llamachat.engine.lanes import Lanes, SequenceContext
from llamachat.engine.logprobs import Recorder
from llamachat.engine.marks import Marks
from llamachat.engine.pictures import Pictures, Piece
from llamachat.engine.prefill import PrefillClock
from llamachat.engine.threads import ThreadCount
from llamachat.language import N_
from llamachat.tools import prompt as prompts
from llamachat.tools.call_parser import THINK
from llamachat.tools.family import MARKERS, Family, of_template

OWN_TOOLS = ("functionary", "functionary-v1", "functionary-v2", "chatml-function-calling")
"""Chat formats of the library that write prompts for tools, and read calls, themselves."""
MIN_BATCH = 4
"""Tokens of a batch for each lane, at least."""

_counting: ContextVar[bool] = ContextVar("counting", default=False)


class _Counted(BaseException):
    """Ends a count where the model would begin. Not an Exception, so that nobody takes it for a failure."""

    def __init__(self, count: int) -> None:
        self.count = count


class Engine(llama_cpp.Llama):
    """A `llama_cpp.Llama` that reports to, and obeys, the job in whose context it runs.

    Templates, tokens and checks are done in the caller's thread, and all that computes in the model's thread.
    """

    options: ClassVar[EngineOptions] = EngineOptions()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.row = -1
        self.prefill_ticks = 0
        self._pieces: dict[int, bytes] = {}
        self.compiler = Compiler()
        self.one_lane = why_one_lane({**kwargs, "mmproj": self.options.mmproj})
        """Why one request at a time is served, if several were asked for."""
        with self._several_sequences():
            super().__init__(*args, **kwargs)
        self.move_to(0)
        self.thread_count = ThreadCount(
            self.ctx, adapts=self.options.adapt_threads, n_spare=self.options.spare_cores
        )
        self.pictures = Pictures(self.options.mmproj, self) if self.options.mmproj else None
        n_lanes = llama_cpp.llama_n_seq_max(self.ctx) if not self.context_params.embeddings else 1
        views = [self] if n_lanes == 1 else [self.view(seq) for seq in range(n_lanes)]
        multimodal = kwargs.get("chat_handler") is not None or self.pictures is not None
        self.lanes = Lanes(self, views, KvCache(views, self.options, multimodal=multimodal))
        for view in views:
            view.lanes = self.lanes

    # A request, from its messages to its tokens.

    def jobs_of(self, body: Mapping[str, Any]) -> list[tuple[bytes, str]]:
        """What of a request's body is to become rules before its turn comes, each with its field.

        Raises Refused for what is too large to look at.
        """
        found: list[tuple[bytes, str]] = []
        if "messages" in body:
            wanted = request_body.wanted_schema(body.get("response_format"))
            offer = tool_turn.offered(body)
            if body.get("grammar") is not None and (wanted is not None or (offer and offer.needed)):
                message = "`grammar` can't hold beside a JSON `response_format` or a call that is required."
                raise Refused(400, message, param="grammar")
            if offer is not None and self.chat_format not in OWN_TOOLS:
                turn = tool_turn.Turn(offer, self._tool_family or Family.HERMES, wanted)
                found.append((self._calls_job(turn), "tools"))
            elif wanted is not None:
                found.append((_schema_job(wanted), "response_format"))
        if body.get("grammar") is not None:
            found.append((self._gbnf_job(body["grammar"]), "grammar"))
        return found

    def count_chat(self, **request: Any) -> int:
        """The `prompt_tokens` of a completion of `request`; safe beside a reply, in any thread."""
        token = _counting.set(True)
        try:
            self.create_chat_completion(**request)
        except _Counted as counted:
            return counted.count
        finally:
            _counting.reset(token)
        raise RuntimeError("This chat format makes no prompt that could be counted.")

    def create_chat_completion(
        self, messages: Any, *args: Any, continue_final_message: bool = False, **kwargs: Any
    ) -> Any:
        """With `continue_final_message` the last message, the model's own, goes on instead of a new one."""
        job = jobs.current.get()
        if self.chat_handler is None and request_body.has_pictures(messages):
            if self.pictures is None:
                raise Refused(400, N_("This model can't see pictures."), param="messages")
            messages = self.pictures.put(messages)
        turn = self._turn_of(kwargs)
        if turn is not None and job is not None:
            turn.thought = partial(self._count_thought, job)
        tool_turn.current.set(turn)
        top, has_logprobs = kwargs.pop("top_logprobs", None), kwargs.pop("logprobs", None)
        if has_logprobs and self.chat_format in OWN_TOOLS:
            raise Refused(400, f"The chat format {self.chat_format} has no logprobs.", param="logprobs")
        recorder = self._recorder(top or 0) if has_logprobs else None
        logprobs.current.set(recorder)
        messages = self._marks.put(self._with_tools(messages, turn, kwargs))
        wanted = request_body.wanted_schema(kwargs.pop("response_format", None))
        if turn is not None and turn.offer is not None:
            turn.content = wanted
        elif wanted is not None:
            rules = self.compiler.rules(_schema_job(wanted), "response_format")
            kwargs["logits_processor"] = self._held_to(rules, kwargs)
        if continue_final_message or (job is not None and job.continue_final_message):
            messages = marks.leave_open(messages)
        try:
            answer: Any = super().create_chat_completion(messages, *args, **kwargs)
        except Exception as error:
            raise refusal(error) from error
        answer = logprobs.put(answer, recorder)
        if turn is None:
            return answer
        if kwargs.get("stream"):
            return tool_turn.streamed(answer, turn)
        return _with_details(tool_turn.whole(answer, turn))

    def _turn_of(self, request: Mapping[str, Any]) -> tool_turn.Turn | None:
        """None if the answer is text alone."""
        if self.chat_format in OWN_TOOLS:
            return None
        job = jobs.current.get()
        if job is not None:
            own = {"parallel_tool_calls": job.parallel_tool_calls, "allowed_tools": job.allowed_tools}
            request = {**request, **own}
        offer = tool_turn.offered(request)
        family = self._tool_family or Family.HERMES
        return tool_turn.Turn(offer, family) if offer is not None or family is Family.HARMONY else None

    def _with_tools(self, messages: Any, turn: tool_turn.Turn | None, request: dict[str, Any]) -> Any:
        """The messages as the template takes them; in `request`, what it is told of tools."""
        if self.chat_format in OWN_TOOLS:
            return messages
        for name in ("tools", "tool_choice", "allowed_tools", "functions", "function_call"):
            request.pop(name, None)
        offer = turn.offer if turn is not None else None
        if self._tool_family is None:
            return prompts.without_template(messages, offer)
        if offer is not None:
            request["tools"] = self._marks.put([tool.as_dict() for tool in offer.shown])
        return prompts.for_template(messages, self._tool_family)

    def _count_thought(self, job: Job, text: str) -> None:
        job.reasoning_tokens = len(super().tokenize(text.encode(errors="replace"), add_bos=False))

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        """Text that a mark says is literal is read without control tokens; a picture's mark is its ids."""
        text = marks.cut_at_end(text)
        if special and self.pictures is not None and self.pictures.are_in(text):
            tokens = []
            for part in self.pictures.split(text):
                tokens += self._tokenized(part, False, True) if isinstance(part, bytes) else part
            return self._with_edges(tokens) if add_bos else tokens
        return self._tokenized(text, add_bos, special)

    def _tokenized(self, text: bytes, add_bos: bool, special: bool) -> list[int]:
        if not special or not self._marks.are_in(text):
            return super().tokenize(text, add_bos, special)
        tokens = [
            token
            for part, literal in self._marks.split(text)
            for token in super(Engine, self).tokenize(part, False, not literal)
        ]
        return self._with_edges(tokens) if add_bos else tokens

    def create_completion(self, prompt: Any, *args: Any, **kwargs: Any) -> Any:
        """`prompt` of a chat is a list of tokens, and its `max_tokens` None if the client gave none."""
        if _counting.get():
            if isinstance(prompt, str):  # some chat formats leave reading the text to the completion
                prompt = self.tokenize(prompt.encode(), add_bos=True, special=True)
            raise _Counted(len(prompt))
        try:
            job = jobs.current.get()
            if job is not None and job.tokens is not None:
                check_ids(job.tokens, self.n_vocab(), "prompt")
                prompt = job.tokens
            turn = tool_turn.current.get()
            echo, top, suffix = (kwargs.pop(name, None) for name in ("echo", "logprobs", "suffix"))
            text = self._as_text(prompt) if echo or top is not None else ""
            if top is not None:
                logprobs.current.set(self._recorder(top, text))
            if suffix:
                prompt = self._with_suffix(prompt, suffix)
            if turn is not None and turn.offer is not None:
                kwargs["logits_processor"] = self._held_to_calls(turn, prompt, kwargs)
            if bias := kwargs.pop("logit_bias", None):
                processors = kwargs.get("logits_processor") or llama_cpp.LogitsProcessorList()
                kwargs["logits_processor"] = processors.extend([_adding(bias)]) or processors
            if (grammar := kwargs.pop("grammar", None)) is not None:
                rules = self.compiler.rules(self._gbnf_job(grammar._grammar), "grammar")
                kwargs["logits_processor"] = self._held_to(rules, kwargs)
            if isinstance(prompt, list) and "max_tokens" in kwargs:
                kwargs["max_tokens"] = longest_answer(self.n_ctx(), len(prompt), kwargs["max_tokens"])
            recorder = logprobs.current.get()
            answer: Any
            if kwargs.get("stream"):
                answer = self._stream(turn, recorder, prompt, *args, **kwargs)
            else:
                answer = model_thread.run(partial(self._complete, prompt, *args, **kwargs))
            answer = logprobs.put(answer, recorder) if top is not None else answer
            return _echoed(answer, text) if echo else answer
        except Exception as error:
            raise refusal(error, self.n_ctx()) from error

    # A reply, token by token, in the model's thread and in a lane.

    def _complete(self, prompt: Any, *args: Any, **kwargs: Any) -> Any:
        with self._lane(prompt, kwargs) as lane:
            answer: Any = super(Engine, lane).create_completion(prompt, *args, **kwargs)
        return _with_details(answer)

    def _stream(
        self,
        turn: tool_turn.Turn | None,
        recorder: Recorder | None,
        prompt: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Iterator[Any]:
        """Nothing is done before the first chunk is asked for, which must be in the model's thread."""
        tool_turn.current.set(turn)  # made in another thread's context, as the recorder
        logprobs.current.set(recorder)
        try:
            with self._lane(prompt, kwargs) as lane:
                yield from super(Engine, lane).create_completion(prompt, *args, **kwargs)
        except Exception as error:
            raise refusal(error, self.n_ctx()) from error

    @contextlib.contextmanager
    def _lane(self, prompt: Any, request: Mapping[str, Any]) -> Iterator[Engine]:
        """Where no seed is asked for, each reply has its own: the library derives one from its last."""
        with self.lanes.taken(self._to_tokens(prompt)) as lane:
            if lane is not self and request.get("seed") is None:
                lane._seed = self._seed
                self._seed = random.Random(self._seed).randint(0, 2**32)
            yield lane

    def _as_text(self, prompt: str | list[int]) -> str:
        if isinstance(prompt, str):
            return prompt
        text = super().detokenize(prompt, special=True)
        return text.decode(errors="replace")

    def _to_tokens(self, prompt: Any) -> list[int]:
        """As the library will read it, as far as a choice between lanes is concerned."""
        return prompt if isinstance(prompt, list) else self.tokenize(prompt.encode(), special=True)

    def generate(self, tokens: Sequence[int], *args: Any, **kwargs: Any) -> Generator[int, Any, None]:
        """First bring to the front of the KV cache what serves `tokens`, then read the rest and write."""
        if not len(tokens):  # the library would fail on an assertion where it draws the first token
            raise Refused(400, "The prompt is empty.", param="prompt")
        job = jobs.current.get()
        if job is not None:
            job.begin(len(tokens))
        if kwargs.get("reset", True):
            self.lanes.kv.prepare(self.seq, tokens)
        held = getattr(kwargs.get("logits_processor"), "constraint", None)
        recorder = logprobs.current.get()
        for token in super().generate(tokens, *args, **kwargs):
            ends = self._ends_generation(token)
            if recorder is not None:
                if ends:
                    recorder.end()
                else:
                    recorder.record(token, self._sampled_logits(), held.allowed if held is not None else None)
            if held is not None:
                held.accept(token)
            if job is not None:
                job.wrote(ends=ends)
                job.count_threads(self.thread_count)
            yield token
            if job is not None:
                job.check()
            if held is not None and held.is_over:  # what is left to sample is the end
                if recorder is not None:
                    recorder.end()
                yield from held.words.any_end
                return

    def eval(self, tokens: Sequence[int]) -> None:
        """With others in one step, or alone as the library does it.

        Alone, it is watched while the prompt is read: a written token would feel it (6 % on a small model).
        """
        job = jobs.current.get()
        reads = job is not None and job.read is None
        if job is not None:
            job.check()
            if reads:
                job.cached_tokens = self.n_tokens - job.read_tokens
        if len(self.lanes.views) > 1:
            self.lanes.compute(self, tokens)
            return
        for run, piece in self.pictures.runs(tokens) if self.pictures is not None else [(tokens, None)]:
            for batch in batches(run, self.n_batch) if piece is None else [run]:
                with self.thread_count.step(len(batch)):
                    if job is not None and reads:
                        self._eval_watched(batch, job, piece)
                    else:
                        self._eval_one(batch, piece)

    def _eval_one(self, batch: Sequence[int], piece: Piece | None) -> None:
        """A batch of tokens, or a picture that takes the place of some."""
        if piece is None:
            super().eval(batch)
            return
        assert self.pictures is not None
        begin, end = self.n_tokens, self.n_tokens + len(batch)
        self._ctx.kv_cache_seq_rm(-1, begin, -1)
        if list(batch) != [piece.id] * piece.positions or not self.pictures.read(self, piece):
            raise RuntimeError("A picture could not be read.")
        self.input_ids[begin:end] = batch
        self.n_tokens = end

    def _eval_watched(self, batch: Sequence[int], job: Job, piece: Piece | None) -> None:
        try:
            with PrefillClock(self, [(job, len(batch))]):
                self._eval_one(batch, piece)
        except Exception as error:
            if self._is_recurrent or self._is_hybrid:
                self.reset()  # their state can't be cut back to before the broken batch
            if job.cancelled:
                raise Cancelled from error
            raise
        job.took(len(batch))
        job.tell_progress(now=True)

    def sample(self, *args: Any, **kwargs: Any) -> Any:
        """The library draws from the last row of a batch, and a lane from its own."""
        sampler: Any = self._sampler
        if len(self.lanes.views) == 1 or sampler is None:
            at = kwargs.get("idx")
            self.row = -1 if at is None else at - self.n_tokens  # with a draft, one of several
            return super().sample(*args, **kwargs)
        return sampler.sample(self._ctx, self.row)

    def _sampled_logits(self) -> npt.NDArray[np.single]:
        """What the last token was drawn from, of shape (n_vocab,); valid until the next decode."""
        row = llama_cpp.llama_get_logits_ith(self.ctx, self.row)
        return np.ctypeslib.as_array(row, shape=(self.n_vocab(),))

    def detokenize(
        self, tokens: list[int], prev_tokens: list[int] | None = None, special: bool = False
    ) -> bytes:
        """Each token's text is asked for once; the library asks for the whole reply at every token."""
        if special or not self._is_own_tokenizer:
            return super().detokenize(tokens, prev_tokens, special)
        text = b"".join(map(self._shown, tokens))
        # As the library does: older models put a space in front of the first word.
        return text[1:] if text[:1] == b" " and tokens[0] == self.token_bos() else text

    def _shown(self, token: int) -> bytes:
        """What a token adds to an answer."""
        marker = self._visible.get(token) if tool_turn.current.get() is not None else None
        return marker or self._piece(token)

    def _piece(self, token: int) -> bytes:
        if token not in self._pieces:
            self._pieces[token] = super().detokenize([token])
        return self._pieces[token]

    def reset(self) -> None:
        super().reset()  # type: ignore[no-untyped-call]

    def save(self) -> None:
        """Write the KV cache to its folder, as far as the time allows; called at the stop."""
        deadline = time.monotonic() + shutdown.BUSY + shutdown.SAVE
        model_thread.run_before(deadline, partial(self.lanes.kv.save, deadline))

    # Several sequences in one context.

    @contextlib.contextmanager
    def _several_sequences(self) -> Iterator[None]:
        """While entered, the library makes a context of as many sequences as were asked for.

        `n_ctx` stays what one of them may hold: llama.cpp divides a context's by the number of sequences.
        """
        stock = internals.LlamaContext

        def context(*, model: Any, params: Any, verbose: bool) -> Any:
            self.one_lane = self.one_lane or why_model_has_one_lane(model.model)
            if params.n_batch < MIN_BATCH * self.options.parallel:
                self.one_lane = self.one_lane or f"--n_batch {params.n_batch} is too small for several"
            if not self.one_lane:
                params.n_ctx *= self.options.parallel
                params.n_seq_max = self.options.parallel
            return stock(model=model, params=params, verbose=verbose)

        if self.options.parallel > 1:
            setattr(internals, "LlamaContext", context)  # noqa: B010
        try:
            yield
        finally:
            setattr(internals, "LlamaContext", stock)  # noqa: B010

    def view(self, seq: int) -> Engine:
        """This engine with a sequence, tokens and a sampler of its own."""
        view: Engine = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view.input_ids = np.zeros(self.n_ctx(), np.intc)
        view._ctx = SequenceContext(self._ctx, view)  # type: ignore[assignment]
        view._stack = contextlib.ExitStack()  # what there is to close is the engine's
        view.cache = None  # the library's own puts back the states of all sequences
        view.move_to(seq)
        return view

    def move_to(self, seq: int) -> None:
        """Compute in the cells of this sequence from now on."""
        self.seq, self.cells = seq, Cells(self.ctx, seq)

    def n_ctx(self) -> int:
        """The window of one conversation, in tokens."""
        return int(llama_cpp.llama_n_ctx_seq(self.ctx))

    # What the vocabulary says.

    @cached_property
    def _marks(self) -> Marks:
        vocab = llama_cpp.llama_model_get_vocab(self.model)
        wanted = llama_cpp.LLAMA_TOKEN_ATTR_CONTROL | llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN
        control: dict[str, int] = {}
        for token in range(llama_cpp.llama_vocab_n_tokens(vocab)):
            attributes = llama_cpp.llama_vocab_get_attr(vocab, token)
            if attributes & wanted and (text := llama_cpp.llama_vocab_get_text(vocab, token)):
                control[text.decode("utf-8", errors="replace")] = attributes
        return Marks(control, llama_cpp.LLAMA_TOKEN_ATTR_LSTRIP, llama_cpp.LLAMA_TOKEN_ATTR_RSTRIP)

    def _with_edges(self, tokens: list[int]) -> list[int]:
        """With the begin and end tokens that the vocabulary wants around every text."""
        vocab = llama_cpp.llama_model_get_vocab(self.model)
        first = [self.token_bos()] if llama_cpp.llama_vocab_get_add_bos(vocab) else []
        last = [self.token_eos()] if llama_cpp.llama_vocab_get_add_eos(vocab) else []
        return [*first, *tokens, *last]

    def _ends_generation(self, token: int) -> bool:
        return bool(llama_cpp.llama_vocab_is_eog(llama_cpp.llama_model_get_vocab(self.model), token))

    @cached_property
    def _is_own_tokenizer(self) -> bool:
        """Others may look at the tokens before."""
        return type(self.tokenizer_) is LlamaTokenizer

    def _recorder(self, top: int, prompt: str = "") -> Recorder:
        """For the `top` likeliest tokens of each step; `prompt` is the text of a completion."""
        job = jobs.current.get()
        vocab = llama_cpp.llama_model_get_vocab(self.model)
        return Recorder(
            top,
            self._shown,
            lambda token: llama_cpp.llama_vocab_get_text(vocab, token) or b"",
            allowed_only=job is not None and job.logprobs_of == "allowed",
            prompt_characters=len(prompt),
        )

    def _held_to(self, rules: Rules, request: Mapping[str, Any]) -> constraint.Processors:
        """The logits processors of `request`, and one more that holds its answer to `rules`."""
        held = constraint.Constraint(rules, self._words, _wanted(request))
        held.prepare()
        return constraint.Processors(request.get("logits_processor") or (), held)

    def _held_to_calls(
        self, turn: tool_turn.Turn, prompt: list[int], request: Mapping[str, Any]
    ) -> constraint.Processors:
        """The same for an answer that may, or has to, call tools."""
        end = super().detokenize(prompt[-8:], special=True)
        turn.thinks = end.rstrip().endswith(THINK.encode())
        rules = self.compiler.rules(self._calls_job(turn), "tools")
        turn.texts = rules.texts
        if turn.is_whole:
            return self._held_to(rules, request)
        begin = partial(constraint.Constraint, rules, self._words, _wanted(request))
        held = tool_turn.CallConstraint(turn, begin, self._words, self._visible)
        return constraint.Processors(request.get("logits_processor") or (), held)

    def _calls_job(self, turn: tool_turn.Turn) -> bytes:
        assert turn.offer is not None
        markers = {mark.decode(): token for token, mark in self._visible.items()}
        told = {"thinks": turn.thinks, "whole": turn.is_whole}
        # Where a call is needed there is nothing else.
        content = None if turn.offer.needed else turn.content
        with refusing("tools"):
            return grammar_jobs.calls_job(turn.offer, turn.family, markers, **told, content=content)

    def _gbnf_job(self, grammar: str) -> bytes:
        with refusing("grammar"):
            return grammar_jobs.gbnf_job(grammar, self._token_of, self.n_vocab())

    @cached_property
    def _words(self) -> constraint.Words:
        tokens = range(self.n_vocab())
        ends = frozenset(token for token in tokens if self._ends_generation(token))
        return constraint.Words(map(self._piece, tokens), ends)

    @cached_property
    def _tool_family(self) -> Family | None:
        """That of the model's template, where it is used and knows tools."""
        uses_template = self.chat_handler is None and (self.chat_format or "").startswith("chat_template")
        return of_template(self.metadata.get("tokenizer.chat_template")) if uses_template else None

    @cached_property
    def _visible(self) -> dict[int, bytes]:
        """Control tokens that are part of calls: the text of an answer has them where tools are offered."""
        marks = MARKERS[self._tool_family or Family.HERMES]
        tokens = ((self._token_of(mark), mark.encode()) for mark in marks)
        return {token: mark for token, mark in tokens if token is not None and not self._piece(token)}

    def _token_of(self, text: str) -> int | None:
        """The token that `text` is by itself."""
        tokens = super().tokenize(text.encode(), add_bos=False, special=True)
        return tokens[0] if len(tokens) == 1 else None

    def _with_suffix(self, prompt: str | list[int], suffix: str) -> list[int]:
        """What a model that fills in the middle reads; the library has token 0 for its marks."""
        vocab = llama_cpp.llama_model_get_vocab(self.model)
        before = llama_cpp.llama_vocab_fim_pre(vocab)
        behind = llama_cpp.llama_vocab_fim_suf(vocab)
        middle = llama_cpp.llama_vocab_fim_mid(vocab)
        if min(before, behind, middle) < 0:
            raise Refused(400, "This model has no tokens to fill in the middle.", param="suffix")
        bos = [self.token_bos()] if llama_cpp.llama_vocab_get_add_bos(vocab) else []
        tokens = prompt if isinstance(prompt, list) else self.tokenize(prompt.encode(), False, True)
        return [*bos, before, *tokens, behind, *self.tokenize(suffix.encode(), False), middle]

    @cached_property
    def longest_token(self) -> int:
        """In bytes of text, at least."""
        vocab = llama_cpp.llama_model_get_vocab(self.model)
        texts = (llama_cpp.llama_vocab_get_text(vocab, token) for token in range(self.n_vocab()))
        return max(len(text or b"") for text in texts)


def _schema_job(wanted: Any) -> bytes:
    with refusing("response_format"):
        return grammar_jobs.schema_job(wanted)


def _adding(bias: Mapping[str, float]) -> Callable[..., npt.NDArray[np.single]]:
    """A logits processor; the library's own takes a microsecond for each entry of each token."""
    tokens, values = np.array([int(token) for token in bias]), np.array([*bias.values()], np.single)

    def add(_: object, scores: npt.NDArray[np.single]) -> npt.NDArray[np.single]:
        result = scores.copy()
        result[tokens] += values
        return result

    return add


def _with_details(answer: dict[str, Any]) -> dict[str, Any]:
    """A whole answer whose usage says what a stream's does."""
    job = jobs.current.get()
    if job is not None:
        counted = {name: n for name, n in answer["usage"].items() if isinstance(n, int)}
        answer["usage"] = job.usage() | counted
    return answer


def _echoed(answer: Any, prompt: str) -> Any:
    """A completion, whole or as a stream of chunks, with its prompt in front."""
    if isinstance(answer, dict):
        answer["choices"][0]["text"] = prompt + answer["choices"][0]["text"]
        return answer
    return _behind(prompt, answer)


def _behind(prompt: str, chunks: Iterator[Any]) -> Iterator[Any]:
    choice = {"text": prompt, "index": 0, "logprobs": None, "finish_reason": None}
    yield {"choices": [choice]}
    yield from chunks


def _wanted(request: Mapping[str, Any]) -> int | None:
    """How many of the likeliest tokens its sampler looks at, or its logprobs are of."""
    recorder = logprobs.current.get()
    if recorder is not None and recorder.allowed_only:
        return None
    penalties = (request.get("frequency_penalty") or 0, request.get("presence_penalty") or 0)
    return constraint.wanted(
        request.get("top_k", 40),
        request.get("temperature", 0.8),
        request.get("mirostat_mode", 0),
        lowers=min(penalties) >= 0 and request.get("repeat_penalty", 1.0) >= 1,
    )


def why_one_lane(settings: Mapping[str, Any]) -> str:
    """Why several requests can't be served at once with these settings, "" where they can."""
    reasons = {
        "logits_all": N_("--logits_all keeps the scores of every token"),
        "embedding": N_("--embedding reads whole inputs"),
        "chat_handler": N_("images are read into one sequence"),
        "mmproj": N_("pictures are read into one sequence"),
        "draft_model": N_("a draft model writes ahead in one sequence"),
    }
    return next((reason for name, reason in reasons.items() if settings.get(name)), "")


def why_model_has_one_lane(model: Any) -> str:
    if llama_cpp.llama_model_is_recurrent(model) or llama_cpp.llama_model_is_hybrid(model):
        return N_("the model is recurrent, its state can't be cut")
    if llama_cpp.llama_model_n_swa(model) > 0:
        return N_("the model has a sliding window")
    return ""


def engine_class(options: EngineOptions) -> type[Engine]:
    """What takes the place of `llama_cpp.Llama`."""
    return type("Engine", (Engine,), {"options": options})
