"""Several requests in one llama.cpp context: each has a lane, and what all have to compute goes into one
decode.

A lane is a view of the engine with a sequence, tokens and a sampler of its own, in which the library's own
loop runs. Where that loop evaluates tokens, it waits here for the next step. `scheduler` says who goes into
it.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import llama_cpp
from greenlet import getcurrent, greenlet

from llamachat.engine import jobs, model_thread, scheduler
from llamachat.engine.jobs import Cancelled, Job
from llamachat.engine.kv_cache import KvCache, Suspended
from llamachat.engine.prefill import PrefillClock
from llamachat.engine.request_queue import OVERTAKEN
from llamachat.engine.scheduler import Need, Pace, Share

if TYPE_CHECKING:
    from llamachat.engine.engine import Engine

DECODE_ABORTED = 2
TOLD_ROWS = 64
"""Progress is told after each piece of at least so many tokens, else twice a second."""


class SequenceContext:
    """A lane's view of the library's context: what the library does to sequence 0 is done to the lane's."""

    def __init__(self, context: Any, lane: Engine) -> None:
        self._context, self._lane = context, lane

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def kv_cache_seq_rm(self, _: int, start: int, end: int) -> bool:
        self._lane.cells.cut(start, end)
        return True


@dataclass(slots=True)
class _Waiting:
    """A lane whose loop waits for `tokens` to be computed, of which the first `done` are."""

    lane: Engine
    tokens: Sequence[int]
    job: Job | None
    order: int
    greenlet: greenlet = field(default_factory=getcurrent)
    done: int = 0
    error: BaseException | None = None

    @property
    def left(self) -> int:
        return len(self.tokens) - self.done

    @property
    def reads(self) -> bool:
        return len(self.tokens) > 1 if self.job is None else self.job.read is None

    @property
    def rank(self) -> tuple[int, float]:
        """The lower goes first: by priority, then by who came first."""
        return (self.job.ticket.priority, self.job.joined) if self.job else (0, 0.0)

    @property
    def is_over(self) -> bool:
        return self.error is not None or (self.job is not None and self.job.cancelled)

    def can_wait_for(self, other: Job | None) -> bool:
        """Whether `other` may have its lane meanwhile."""
        if self.job is None or other is None or self.is_over or not self.left:
            return False
        return self.job.ticket.priority > other.ticket.priority and self.job.suspended < OVERTAKEN

    def need(self) -> Need:
        priority, _ = self.rank
        watched = self.job is not None and self.job.streams and priority <= 0
        return Need(self.lane.seq, self.left, self.reads, watched, priority, self.order)


class Lanes:
    """The lanes of one engine; only in the model's thread."""

    def __init__(self, engine: Engine, views: Sequence[Engine], kv: KvCache) -> None:
        self.views, self.kv = list(views), kv
        self._engine = engine
        self._waiting: dict[int, _Waiting] = {}
        self._paused: list[tuple[greenlet, Job | None]] = []
        self._suspended: list[tuple[_Waiting, Suspended]] = []
        """Rows of a batch whose lanes were given to a chat."""
        self._orders = itertools.count()
        self._pace = Pace()

    @contextlib.contextmanager
    def taken(self, prompt: Sequence[int]) -> Iterator[Engine]:
        """A lane for `prompt`, its own until the end; once what another one is reading for it is there."""
        while (lane := self.kv.occupy(prompt)) is None and (lane := self._preempt()) is None:
            self._pause()
        view = self.views[lane]
        try:
            while self.kv.is_coming(lane, prompt):
                self._pause()
            yield view
        finally:
            if self.views[view.seq] is view:
                self.kv.release(view.seq)
                self._give_back(view.seq)
            else:  # it ends while it is suspended
                self._suspended = [kept for kept in self._suspended if kept[0].lane is not view]

    def _preempt(self) -> int | None:
        """Take the lane of a request that can wait; None if there is none."""
        job = jobs.current.get()
        rows = [waiting for waiting in self._waiting.values() if waiting.can_wait_for(job)]
        row = max(rows, key=lambda row: row.rank, default=None)
        if row is None or row.job is None:
            return None
        lane = row.lane.seq
        view = self._engine.view(lane)
        aside = sum(len(suspended.state) for _, suspended in self._suspended)
        suspended = self.kv.suspend(lane, view, aside)
        if suspended is None:
            return None
        row.job.suspended += 1
        self._suspended.append((self._waiting.pop(lane), suspended))
        self.views[lane] = view
        return lane

    def _give_back(self, lane: int) -> None:
        """Let the first of those whose lanes were taken go on in this one, which is free."""
        first = min(self._suspended, key=lambda kept: kept[0].rank, default=None)
        if first is not None:
            self._suspended.remove(first)
            row, suspended = first
            row.lane.move_to(lane)
            self.views[lane], self._waiting[lane] = row.lane, row
            if not self.kv.resume(lane, suspended):
                row.error = RuntimeError("The cells of a suspended request could not be put back.")

    def compute(self, lane: Engine, tokens: Sequence[int]) -> None:
        """Evaluate `tokens` behind those that the lane has; its `row` then has the logits of the last one."""
        lane.cells.cut(lane.n_tokens)
        self._waiting[lane.seq] = _Waiting(lane, tokens, jobs.current.get(), next(self._orders))
        model_thread.wait_for(self)

    def _pause(self) -> None:
        """Let the others compute a step."""
        self._paused.append((getcurrent(), jobs.current.get()))
        model_thread.wait_for(self)

    def step(self) -> bool:
        for row in [row for row, _ in self._suspended if row.is_over]:
            row.greenlet.throw(Cancelled())
        for waiting in [w for w in self._waiting.values() if w.is_over]:
            waiting.error = waiting.error or Cancelled()
            self._resume(waiting)
        if self._waiting:
            try:
                self._compute_step()
            except Exception as error:  # noqa: BLE001
                self._fail(error)
        paused, self._paused = self._paused, []
        for stopped, job in paused:
            if job is not None and job.cancelled:
                stopped.throw(Cancelled())
            else:
                stopped.switch()
        return bool(self._waiting or self._paused)

    def _fail(self, error: Exception) -> None:
        """End all that wait, rather than let them wait forever."""
        for waiting in list(self._waiting.values()):
            waiting.error = error
            self._resume(waiting)

    def _compute_step(self) -> None:
        needs = [waiting.need() for waiting in self._waiting.values()]
        writing = [need for need in needs if not need.reads]
        watched = any(need.watched for need in writing)
        limit = self._pace.read_limit(len(writing), watched)
        # A lane between two others may get a token in the batch, too.
        shares = scheduler.next_step(needs, self._engine.n_batch - len(self.views) + 1, limit)
        read = sum(share.n_tokens for share in shares) - len(writing)
        started = time.perf_counter()
        finished = self._decode(shares)
        if finished:
            self._pace.observe(len(writing), read, time.perf_counter() - started)
        self._go_on(shares)

    def _go_on(self, shares: Sequence[Share]) -> None:
        """Resume those that have what they waited for: they draw their tokens before the next decode."""
        for share in shares:
            waiting = self._waiting.get(share.lane)
            if waiting is not None and (waiting.error or not waiting.left):
                self._resume(waiting)

    def _resume(self, waiting: _Waiting) -> None:
        del self._waiting[waiting.lane.seq]
        if waiting.error is None:
            waiting.greenlet.switch()
        else:
            waiting.greenlet.throw(waiting.error)

    def _decode(self, shares: Sequence[Share]) -> bool:
        """One `llama_decode` for all; where it fails, one for each, so that an error ends one reply."""
        rows = self._fill_batch(shares)
        parts = [
            (waiting.job, share.n_tokens)
            for share in shares
            if (waiting := self._waiting[share.lane]).job is not None and waiting.reads
        ]
        others = self._engine._batch.batch.n_tokens - sum(n for _, n in parts)
        # Whose cells are moved with this step would lose them if it stopped.
        stops = self.kv.is_settled
        clock = PrefillClock(self._engine, parts, others, stops) if parts else contextlib.nullcontext()
        with self._engine.thread_count.step(self._engine._batch.batch.n_tokens), clock:
            status = llama_cpp.llama_decode(self._engine.ctx, self._engine._batch.batch)
            llama_cpp.llama_synchronize(self._engine.ctx)
        for share in shares if status == 0 else ():
            self._advance(self._waiting[share.lane], share.n_tokens, rows[share.lane])
        for lane in range(len(self.views)) if status else range(min(rows), max(rows) + 1):
            if status or lane not in rows:
                self.views[lane].cells.cut(self.views[lane].n_tokens)
        if status in (0, DECODE_ABORTED):
            return bool(status == 0)
        if len(shares) > 1:
            for share in shares:
                self._decode([share])
                self._go_on([share])
            return False
        self._waiting[shares[0].lane].error = RuntimeError(f"llama_decode returned {status}")
        return False

    def _fill_batch(self, shares: Sequence[Share]) -> dict[int, int]:
        """The row of each lane's last token, by lane.

        llama.cpp computes lanes at once only where no lane between them is left out: such a one gets a token,
        which is removed again.
        """
        batch, at = self._engine._batch.batch, 0
        rows = {}
        by_lane = {share.lane: share.n_tokens for share in shares}
        for lane in range(min(by_lane), max(by_lane) + 1):
            view = self.views[lane]
            waiting = self._waiting[lane] if lane in by_lane else None
            tokens: Sequence[int] = (0,) if view.n_tokens < view.n_ctx() else ()
            if waiting is not None:
                tokens = waiting.tokens[waiting.done : waiting.done + by_lane[lane]]
            for i, token in enumerate(tokens):
                batch.token[at], batch.pos[at] = token, view.n_tokens + i
                batch.n_seq_id[at], batch.seq_id[at][0] = 1, lane
                batch.logits[at] = False
                at += 1
            if waiting is not None:
                batch.logits[at - 1] = waiting.left == by_lane[lane]
                rows[lane] = at - 1
        batch.n_tokens = at
        return rows

    def _advance(self, waiting: _Waiting, n_tokens: int, row: int) -> None:
        lane, tokens = waiting.lane, waiting.tokens[waiting.done : waiting.done + n_tokens]
        lane.input_ids[lane.n_tokens : lane.n_tokens + n_tokens] = tokens
        lane.n_tokens += n_tokens
        lane.row = row
        waiting.done += n_tokens
        if waiting.reads and waiting.job is not None:
            waiting.job.took(n_tokens)
            waiting.job.tell_progress(now=n_tokens >= TOLD_ROWS or not waiting.left)
