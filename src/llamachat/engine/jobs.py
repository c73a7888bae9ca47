"""One request to the model: what it asked for, who waits for it, and what became of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llamachat.engine.request_queue import Ticket

if TYPE_CHECKING:
    from llamachat.engine.threads import ThreadCount

REPORT_SECONDS = 0.5


class Cancelled(Exception):
    """The client has hung up or the server stops, so nobody gets the rest."""


@dataclass(slots=True)
class Job:
    """Written by the thread that generates; the event loop sets `cancelled`, `outcome` and `is_over`.

    `record` is called at the end, with `outcome` one of `metrics.OUTCOMES`.
    Times are `time.monotonic()` seconds. `report` takes progress; None if nobody asked for it.
    """

    ticket: Ticket
    record: Callable[[Job], None]
    include_usage: bool = False
    return_progress: bool = False
    continue_final_message: bool = False
    parallel_tool_calls: bool = True
    allowed_tools: dict[str, Any] | None = None
    logprobs_of: str = "model"
    tokens: list[int] | None = None
    """The prompt of a completion that came as tokens."""
    streams: bool = False
    report: Callable[[dict[str, Any]], None] | None = None
    cancelled: bool = False
    suspended: int = 0
    """How often its lane was given to another."""
    outcome: str = "cancelled"
    is_over: bool = False
    joined: float = field(default_factory=time.monotonic)
    begun: float | None = None
    started: float = field(default_factory=time.monotonic)
    read: float | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    read_tokens: int = 0
    sampled_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    ended: float | None = None
    thread_sum: int = 0
    threads_max: int = 0
    told: float = 0.0

    def cancel(self) -> None:
        """Called on the event loop: stop waiting, reading or writing as soon as possible."""
        self.cancelled = True
        self.ticket.give_up()

    def end(self) -> None:
        """Free the place in the queue. Before its client hears of the end, who then finds the queue empty."""
        if not self.is_over:
            self.is_over = True
            self.ticket.leave()
            self.record(self)

    def check(self) -> None:
        if self.cancelled:
            raise Cancelled

    def begin(self, prompt_tokens: int) -> None:
        """The model begins to read; again where a chat format asks for several completions."""
        self.started, self.read = time.monotonic(), None
        self.begun = self.begun or self.started
        self.prompt_tokens, self.read_tokens = prompt_tokens, 0

    def wrote(self, *, ends: bool) -> None:
        """A token was sampled; the one that `ends` the reply is not part of it."""
        self.sampled_tokens += 1
        self.completion_tokens += not ends

    def count_threads(self, count: ThreadCount) -> None:
        """A token was written with so many threads."""
        self.thread_sum += count.n_threads
        self.threads_max = count.n_max

    def took(self, n_tokens: int) -> None:
        """So many tokens of the prompt were read."""
        self.read_tokens += n_tokens
        if self.cached_tokens + self.read_tokens >= self.prompt_tokens:
            self.read = time.monotonic()

    def tell_progress(self, done: int = 0, *, now: bool = False) -> None:
        """Report what is read, and `done` tokens of the batch under way: twice a second, or `now`."""
        moment = time.monotonic()
        if self.report and (now or moment - self.told >= REPORT_SECONDS):
            self.told = moment
            self.report(
                {
                    "total": self.prompt_tokens,
                    "cache": self.cached_tokens,
                    "processed": self.cached_tokens + self.read_tokens + done,
                    "time_ms": int((moment - self.started) * 1000),
                }
            )

    def usage(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning_tokens},
        }

    def timings(self) -> dict[str, float]:
        """As llama-server names them; `predicted_n` counts the end token too, since it took its time.

        `threads` is how many wrote, on average, of `threads_max`.
        """
        ended = self.ended or time.monotonic()
        read = self.read or ended
        prompt_ms, predicted_ms = (read - self.started) * 1000, (ended - read) * 1000
        return {
            "cache_n": self.cached_tokens,
            "prompt_n": self.read_tokens,
            "prompt_ms": prompt_ms,
            "prompt_per_second": _per_second(self.read_tokens, prompt_ms),
            "predicted_n": self.sampled_tokens,
            "predicted_ms": predicted_ms,
            "predicted_per_second": _per_second(self.sampled_tokens, predicted_ms),
            "threads": round(self.thread_sum / max(self.sampled_tokens, 1), 1),
            "threads_max": self.threads_max,
        }


def _per_second(count: int, milliseconds: float) -> float:
    return count * 1000 / milliseconds if milliseconds else 0.0


current: ContextVar[Job | None] = ContextVar("job", default=None)
