"""How conversations fare on 1 to 10,000 replicas: a simulation with speeds measured on a real one.

    python benchmarks/scale.py [--transcripts transcripts.db] [--output benchmarks/results/scale.md]

Needs numba (`pip install --group bench`); without it only small sizes are bearable. People with an open chat
ask, wait, read the answer and ask again. A gateway picks a replica for each question. A replica answers in
`lanes` and queues the rest. It reads what it does not hold of the prompt, one prompt at a time, while the
others' writing pauses, and holds the cells of the conversations that it served last. Where a question comes
to a replica without the conversation's cells, the whole history is read again: the figure to watch.

Left out: the network, the gateway's own time, a system prompt that everybody shares, failures.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import math
import platform
import sqlite3
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])
try:
    from numba import njit
except ImportError:

    def njit(*_: Any, **__: Any) -> Callable[[F], F]:
        return lambda function: function


POLICIES = (
    "round robin", "least connections", "consistent hash", "hash, load ≤ 1.25 × mean", "hash, --max-queue 4"
)  # fmt: skip
ROUND_ROBIN, LEAST, HASH, BOUNDED, REFUSING = range(5)
SIZES = (1, 2, 3, 4, 8, 16, 64, 256, 1_000, 10_000)
POINTS_PER_REPLICA = 160
"""On the hash ring; more points, more even shares (8 % off the mean with 160, 25 % with 16)."""
BOUND = 1.25
"""Times the mean of connections, from which on a question goes to the next on the ring instead."""
MAX_QUEUE = 4
"""A replica whose queue is as long answers 503, and the gateway tries the next on the ring."""
SLOT = 0.05
"""Seconds; events are ordered by slots of this length."""
WHEEL = 1 << 16
BINS_PER_DECADE = 100


@dataclass(frozen=True)
class Worker:
    """Speeds in tokens/s, `writes` in all by the number of lanes that write; `cells` in tokens."""

    name: str
    source: str
    reads: float
    writes: dict[int, float]
    lanes: int
    cells: int
    n_ctx: int = 8192

    def writing(self) -> np.ndarray:
        """Tokens a second in all by busy lanes, 0 to `lanes`, straight lines between the measured ones."""
        return np.interp(np.arange(self.lanes + 1), [0, *self.writes], [0.0, *self.writes.values()])


CPU = "measured, 2 cores"
CELLS = 32_000
WORKERS = {
    worker.name: worker
    for worker in (
        Worker("135m", CPU, 450, {1: 152, 4: 207, 8: 265, 16: 311}, 4, CELLS),
        Worker("1b", CPU, 210, {1: 32, 4: 61, 8: 68, 16: 113}, 4, CELLS),
        Worker("1b, one lane", CPU, 210, {1: 32}, 1, CELLS),
        Worker("8b", CPU, 30, {1: 8.3, 4: 13.7, 8: 14.6, 16: 22.4}, 4, CELLS),
        Worker("8b on a data-centre GPU", "published, not measured here", 20_000,
               {1: 215, 5: 1077, 25: 4679, 50: 8018, 100: 12215}, 100, 400_000),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """What conversations look like: samples to draw from. Lengths in tokens, `pauses` in seconds."""

    turns: np.ndarray
    questions: np.ndarray
    answers: np.ndarray
    pauses: np.ndarray

    def __str__(self) -> str:
        means = (
            f"{self.turns.mean():.1f} turns of {self.questions.mean():.0f} + {self.answers.mean():.0f} tokens"
        )
        return f"{means}, pauses of {self.pauses.mean():.0f} s (means)"


def assumed_shape() -> Shape:
    """Assumed, not measured: most questions are a line or two, one in a hundred is a page and more."""
    chance = np.random.default_rng(1)

    def lengths(median: float, sigma: float, most: int) -> np.ndarray:
        drawn = np.exp(chance.normal(math.log(median), sigma, 10_000))
        return np.clip(np.ceil(drawn), 1, most).astype(np.int64)

    return Shape(
        lengths(5, 1.0, 200),
        lengths(40, 1.2, 3000),
        lengths(160, 0.9, 2000),
        lengths(40, 0.9, 1200).astype(float),
    )


def shape_of(transcripts: Path) -> Shape:
    """The shape of real transcripts, as `llamachat chat` keeps them."""
    turns: list[int] = []
    questions, answers, pauses = [], [], []
    rows = "SELECT conversation_id, position, role, prompt_tokens, completion_tokens, created_at, finished_at"
    with contextlib.closing(
        sqlite3.connect(transcripts.absolute().as_uri() + "?mode=ro", uri=True)
    ) as database:
        said = database.execute(f"{rows} FROM transcript ORDER BY conversation_id, position").fetchall()
    conversation, held, ended = None, 0, None
    for number, _, role, prompt, completion, created, finished in said:
        if number != conversation:
            conversation, held, ended = number, 0, None
            turns.append(0)
        if role == "user" and ended is not None:
            pauses.append((_moment(created) - _moment(ended)).total_seconds())
        if role == "assistant" and prompt and completion:
            turns[-1] += 1
            questions.append(max(prompt - held, 1))
            answers.append(completion)
            held, ended = prompt + completion, finished
    kept = [p for p in pauses if 0 < p < 1200] or [40.0]
    counted = [n for n in turns if n]
    if not counted:
        raise SystemExit(f"{transcripts} has no answers with token counts.")
    return Shape(np.array(counted), np.array(questions), np.array(answers), np.array(kept, dtype=float))


def _moment(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


class People(NamedTuple):
    """One row a person, who thinks (`at` is -1), waits in a replica's queue, or is being answered."""

    left: np.ndarray  # questions of this conversation
    history: np.ndarray  # tokens that were asked and answered before
    question: np.ndarray
    answer: np.ndarray
    talk: np.ndarray  # number of the conversation
    home: np.ndarray  # place on the ring
    asked: np.ndarray
    ends: np.ndarray  # when the answer ends
    at: np.ndarray
    behind: np.ndarray  # who is next in the queue
    following: np.ndarray  # who is next in the slot of the wheel


class Replicas(NamedTuple):
    """One row a replica; `order` has them by load, and `first[n]` is where there those with load n begin."""

    head: np.ndarray  # of the queue
    tail: np.ndarray
    busy: np.ndarray  # lanes
    active: np.ndarray  # people by lane
    reader: np.ndarray  # when it has read the prompts that it has begun
    computed: np.ndarray  # seconds
    talk: np.ndarray  # the conversations whose cells it holds: number, tokens, last use
    tokens: np.ndarray
    used: np.ndarray
    load: np.ndarray  # connections
    order: np.ndarray
    place: np.ndarray
    first: np.ndarray


def _people(count: int) -> People:
    return People(
        *(np.zeros(count, np.int64) for _ in range(6)),
        *(np.zeros(count) for _ in range(2)),
        *(np.full(count, -1) for _ in range(3)),
    )


def _replicas(count: int, lanes: int, held: int, people: int) -> Replicas:
    first = np.full(people + 3, count)
    first[0] = 0
    return Replicas(
        head=np.full(count, -1),
        tail=np.full(count, -1),
        busy=np.zeros(count, np.int64),
        active=np.full((count, lanes), -1),
        reader=np.zeros(count),
        computed=np.zeros(count),
        talk=np.full((count, held), -1),
        tokens=np.zeros((count, held), np.int64),
        used=np.zeros((count, held)),
        load=np.zeros(count, np.int64),
        order=np.arange(count),
        place=np.arange(count),
        first=first,
    )


@njit(cache=True)
def _change_load(replicas, replica, by):  # type: ignore[no-untyped-def]
    """By one connection: the replica changes places with the last, or the first, of its load."""
    load, first, order, place = replicas.load, replicas.first, replicas.order, replicas.place
    old = load[replica]
    edge = first[old + 1] - 1 if by > 0 else first[old]
    other, here = order[edge], place[replica]
    order[here], order[edge] = other, replica
    place[other], place[replica] = here, edge
    if by > 0:
        first[old + 1] -= 1
    else:
        first[old] += 1
    load[replica] = old + by


@njit(cache=True)
def _choose(policy, replicas, ring, home, total, number, lanes):  # type: ignore[no-untyped-def]
    """The replica for the question `number`, with `total` connections open."""
    count = len(replicas.load)
    if policy == ROUND_ROBIN:
        return number % count
    if policy == LEAST:
        least = replicas.load[replicas.order[0]]
        return replicas.order[np.random.randint(replicas.first[least], replicas.first[least + 1])]
    if policy == BOUNDED:
        bound = math.ceil(BOUND * (total + 1) / count)
    elif policy == REFUSING and total < count * (lanes + MAX_QUEUE):
        bound = lanes + MAX_QUEUE
    else:
        bound = total + 1
    while replicas.load[ring[home]] >= bound:
        home = (home + 1) % len(ring)
    return ring[home]


@njit(cache=True)
def _held(replicas, replica, talk):  # type: ignore[no-untyped-def]
    """Where the replica holds the conversation's cells, else -1."""
    for place in range(replicas.talk.shape[1]):
        if replicas.talk[replica, place] == talk:
            return place
    return -1


@njit(cache=True)
def _hold(replicas, replica, talk, tokens, cells, now):  # type: ignore[no-untyped-def]
    """Keep the conversation's cells; those that were used longest ago make room."""
    place = _held(replicas, replica, talk)
    if place < 0:
        place = np.argmin(replicas.used[replica])
    replicas.talk[replica, place] = talk
    replicas.tokens[replica, place] = tokens
    replicas.used[replica, place] = now
    total = replicas.tokens[replica].sum()
    while total > cells:
        oldest = -1
        for other in range(replicas.talk.shape[1]):
            older = oldest < 0 or replicas.used[replica, other] < replicas.used[replica, oldest]
            if older and other != place and replicas.tokens[replica, other]:
                oldest = other
        if oldest < 0:
            return
        total -= replicas.tokens[replica, oldest]
        replicas.talk[replica, oldest] = -1
        replicas.tokens[replica, oldest] = 0
        replicas.used[replica, oldest] = 0.0


@njit(cache=True)
def _ask(people, person, shape, ring, n_ctx, names):  # type: ignore[no-untyped-def]
    """The next question, in a new conversation where the last is over; returns how many have begun."""
    turns, questions, answers, _ = shape
    if people.left[person] == 0:
        names += 1
        people.left[person] = turns[np.random.randint(len(turns))]
        people.history[person] = 0
        people.talk[person] = names
        people.home[person] = np.random.randint(len(ring))
    people.question[person] = min(questions[np.random.randint(len(questions))], n_ctx // 2)
    people.answer[person] = min(answers[np.random.randint(len(answers))], n_ctx // 4)
    # What is above three quarters of the window is dropped; closing the gap costs nothing.
    most = n_ctx * 3 // 4 - people.question[person]
    people.history[person] = min(people.history[person], most)
    return names


@njit(cache=True)
def _queue(people, replicas, person, replica):  # type: ignore[no-untyped-def]
    people.behind[person] = -1
    if replicas.head[replica] < 0:
        replicas.head[replica] = person
    else:
        people.behind[replicas.tail[replica]] = person
    replicas.tail[replica] = person


@njit(cache=True)
def _begin(people, replicas, person, writing, reads, now):  # type: ignore[no-untyped-def]
    """Give the person a lane; returns when the first token comes and how many tokens are read again."""
    replica = people.at[person]
    place, known = _held(replicas, replica, people.talk[person]), 0
    if place >= 0:
        known = min(replicas.tokens[replica, place], people.history[person])
        replicas.used[replica, place] = now
    again = people.history[person] - known
    reading = (again + people.question[person]) / reads
    told = max(now, replicas.reader[replica]) + reading
    replicas.reader[replica] = told
    for lane in range(replicas.busy[replica]):
        people.ends[replicas.active[replica, lane]] += reading
    replicas.active[replica, replicas.busy[replica]] = person
    replicas.busy[replica] += 1
    busy = replicas.busy[replica]
    people.ends[person] = told + people.answer[person] * busy / writing[busy]
    replicas.computed[replica] += reading + people.answer[person] / writing[busy]
    return told, again


@njit(cache=True)
def _end(people, replicas, person, cells, now):  # type: ignore[no-untyped-def]
    """The answer is complete: free the lane, and return who is next in the queue, else -1."""
    replica = people.at[person]
    people.history[person] += people.question[person] + people.answer[person]
    _hold(replicas, replica, people.talk[person], people.history[person], cells, now)
    active, last = replicas.active[replica], replicas.busy[replica] - 1
    for lane in range(last):
        if active[lane] == person:
            active[lane] = active[last]
    replicas.busy[replica] = last
    _change_load(replicas, replica, -1)
    people.at[person] = -1
    people.left[person] -= 1
    following = replicas.head[replica]
    if following >= 0:
        replicas.head[replica] = people.behind[following]
    return following


@njit(cache=True)
def _schedule(people, wheel, person, now_slot, when):  # type: ignore[no-untyped-def]
    slot = min(max(math.ceil(when / SLOT), now_slot + 1), now_slot + WHEEL - 1) % WHEEL
    people.following[person], wheel[slot] = wheel[slot], person


@njit(cache=True)
def _run(seed, policy, people, replicas, conversations, ring, writing, reads, cells, n_ctx, shape):  # type: ignore[no-untyped-def]
    """Returns (seconds, turns, prompt tokens, tokens read again, connection seconds, histogram of the time to
    the first token, most connections at one replica), all after the first tenth of the conversations."""
    np.random.seed(seed)
    lanes, pauses = len(writing) - 1, shape[3]
    wheel = np.full(WHEEL, -1)  # of people, by the slot in which something happens to them
    for person in range(len(people.left)):
        _schedule(people, wheel, person, 0, np.random.random() * 120)
    histogram = np.zeros(8 * BINS_PER_DECADE, np.int64)
    ended = turns = prompts = again = total = most = number = now_slot = names = 0
    warm, since, opened = False, 0.0, 0.0
    while ended < conversations:
        now_slot += 1
        now = now_slot * SLOT
        if not warm and ended >= conversations // 10:
            warm, since, opened, turns, prompts, again, most = True, now, 0.0, 0, 0, 0, 0
            histogram[:] = 0
            replicas.computed[:] = 0.0
        person = wheel[now_slot % WHEEL]
        wheel[now_slot % WHEEL] = -1
        while person >= 0:
            after, starts = people.following[person], -1
            if people.at[person] < 0:
                names = _ask(people, person, shape, ring, n_ctx, names)
                replica = _choose(policy, replicas, ring, people.home[person], total, number, lanes)
                people.at[person], people.asked[person] = replica, now
                _change_load(replicas, replica, 1)
                number, total, most = number + 1, total + 1, max(most, replicas.load[replica])
                if replicas.busy[replica] < lanes:
                    starts = person
                else:
                    _queue(people, replicas, person, replica)
            elif people.ends[person] > now + SLOT:  # others' prompts were read meanwhile
                _schedule(people, wheel, person, now_slot, people.ends[person])
            else:
                starts = _end(people, replicas, person, cells, now)
                opened, total = opened + now - people.asked[person], total - 1
                ended += people.left[person] == 0
                _schedule(people, wheel, person, now_slot, now + pauses[np.random.randint(len(pauses))])
            if starts >= 0:
                told, repeated = _begin(people, replicas, starts, writing, reads, now)
                _schedule(people, wheel, starts, now_slot, people.ends[starts])
                turns, again = turns + 1, again + repeated
                prompts += people.history[starts] + people.question[starts]
                decades = math.log10(max(told - people.asked[starts], 1e-3)) + 3
                histogram[min(int(decades * BINS_PER_DECADE), len(histogram) - 1)] += 1
            person = after
    return now_slot * SLOT - since, turns, prompts, again, opened, histogram, most


@dataclass(frozen=True)
class Outcome:
    """Seconds to the first token, and how busy replicas are, the mean and the busiest, as shares of time."""

    questions_a_second: float
    streams: float
    read_again: float
    first_p50: float
    first_p95: float
    first_p99: float
    busy: float
    busiest: float
    most_connections: int
    took: float

    def first(self) -> str:
        shares = (self.first_p50, self.first_p95, self.first_p99)
        return " / ".join(f"{value:.2f}" if value < 10 else f"{value:.0f}" for value in shares)

    @property
    def spread(self) -> float:
        return self.busiest / self.busy if self.busy else 1.0


def simulate(
    worker: Worker, policy: int, replicas: int, chats: float, conversations: int, shape: Shape, seed: int = 1
) -> Outcome:
    """`chats` are the open chats a replica, `conversations` how many end before the run does."""
    began = time.perf_counter()
    chance = np.random.default_rng(seed)
    points = chance.random(replicas * POINTS_PER_REPLICA)
    ring = np.repeat(np.arange(replicas), POINTS_PER_REPLICA)[np.argsort(points)]
    # A hash falls into an arc as often as that is long: 16 places a point stand for the circle.
    marks = (np.arange(len(ring) * 16) + 0.5) / (len(ring) * 16)
    circle = ring[np.searchsorted(np.sort(points), marks) % len(ring)]
    writing, count = worker.writing(), max(1, round(chats * replicas))
    rows = _replicas(replicas, worker.lanes, max(32, worker.cells // 1000), count)
    elapsed, turns, prompts, again, opened, histogram, most = _run(
        seed, policy, _people(count), rows, conversations, circle, writing, float(worker.reads), worker.cells,
        worker.n_ctx, (shape.turns, shape.questions, shape.answers, shape.pauses),
    )  # fmt: skip
    below = np.cumsum(histogram) / max(histogram.sum(), 1)

    def quantile(share: float) -> float:
        return float(10 ** (np.searchsorted(below, share) / BINS_PER_DECADE - 3))

    return Outcome(
        questions_a_second=turns / elapsed,
        streams=opened / elapsed,
        read_again=again / max(prompts, 1),
        first_p50=quantile(0.5),
        first_p95=quantile(0.95),
        first_p99=quantile(0.99),
        busy=float(rows.computed.mean() / elapsed),
        busiest=float(rows.computed.max() / elapsed),
        most_connections=int(most),
        took=time.perf_counter() - began,
    )


def carried(worker: Worker, policy: int, replicas: int, shape: Shape) -> float:
    """The most open chats a replica with 95 % of first tokens in time: see `main`."""
    limit = max(2 * simulate(worker, HASH, 1, 1, 3000, shape).first_p95, 1.0)

    def run(people: int) -> Outcome:
        return simulate(worker, policy, replicas, people / replicas, 3000 * replicas, shape)

    good, bad = 0, 1
    while run(bad).first_p95 <= limit:
        good, bad = bad, 2 * bad
    while bad - good > max(1, good // 50):
        middle = (good + bad) // 2
        good, bad = (middle, bad) if run(middle).first_p95 <= limit else (good, middle)
    return good / replicas


def capacity(shape: Shape) -> list[str]:
    lines = [
        "| replica | speeds | one chat alone: first token, 50 / 95 / 99 %, s | 1 replica | "
        + " | ".join(f"8: {name}" for name in POLICIES) + " |",
        "|-|-|-:|-:|" + "-:|" * len(POLICIES),
    ]  # fmt: skip
    for worker in WORKERS.values():
        alone = simulate(worker, HASH, 1, 1, 3000, shape)
        chats = [carried(worker, HASH, 1, shape)]
        chats += [carried(worker, policy, 8, shape) for policy in range(len(POLICIES))]
        cells = " | ".join(f"{n:.1f}" if n < 10 else f"{n:.0f}" for n in chats)
        lines.append(f"| {worker.name} | {worker.source} | {alone.first()} | {cells} |")
    return lines


def sizes(worker: Worker, chats: float, conversations: int, largest: int, shape: Shape) -> list[str]:
    """`conversations` at 10,000 replicas, in proportion below, four times that where sizes are small."""
    lines = [
        "| replicas | open chats | policy | read again, % of prompt tokens | first token, 50 / 95 / 99 %, s "
        "| busy: mean / busiest, % | the busiest as × mean | most at one | questions/s | connections |",
        "|-:|-:|-|-:|-:|-:|-:|-:|-:|-:|",
    ]
    for replicas in (size for size in SIZES if size <= largest):
        share = max(1, conversations // 10_000)
        for policy, name in enumerate(POLICIES):
            if replicas == 1 and policy:
                continue
            many = 4 if replicas < 20 else 1  # small sizes are noisy
            o = simulate(worker, policy, replicas, chats, share * replicas * many, shape)
            lines.append(
                f"| {replicas:,} | {round(chats * replicas):,} | {name if replicas > 1 else '(any)'} "
                f"| {100 * o.read_again:.1f} | {o.first()} "
                f"| {100 * o.busy:.0f} / {100 * o.busiest:.0f} | {o.spread:.2f} | {o.most_connections} "
                f"| {o.questions_a_second:.3g} | {o.streams:.3g} |"
            )
            print(f"{replicas} {name}: {o.took:.1f} s", file=sys.stderr, flush=True)
    return lines


def memories(worker: Worker, shape: Shape) -> list[str]:
    lines = [
        "| open chats a replica | cells each | read again, % | first token, 50 / 95 / 99 %, s | busiest, % |",
        "|-:|-:|-:|-:|-:|",
    ]
    for chats in (4, 6):
        for cells in (8_000, 16_000, 32_000, 64_000):
            o = simulate(replace(worker, cells=cells), REFUSING, 3, chats, 30_000, shape)
            lines.append(
                f"| {chats} | {cells:,} | {100 * o.read_again:.1f} | {o.first()} | {100 * o.busiest:.0f} |"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--transcripts", type=Path, help="take the shape of conversations from a transcripts file"
    )
    parser.add_argument("--worker", choices=WORKERS, default="1b", help="what a replica is (default: 1b)")
    parser.add_argument("--chats", type=float, default=4, help="open chats a replica (default: 4)")
    parser.add_argument(
        "--conversations",
        type=int,
        default=10_000_000,
        help="in proportion at 10,000 replicas (default: 10000000)",
    )
    parser.add_argument("--replicas", type=int, default=10_000, help="the largest size (default: 10000)")
    parser.add_argument("--output", type=Path, help="write the tables here instead of to the terminal")
    args = parser.parse_args()
    shape = shape_of(args.transcripts) if args.transcripts else assumed_shape()
    worker = WORKERS[args.worker]
    began = time.perf_counter()
    parts = [
        "# Conversations on 1 to 10,000 replicas, simulated",
        f"Conversations: {shape}. A replica by size is “{worker.name}” ({worker.source}): it reads "
        f"{worker.reads:g} tokens/s, writes {worker.writing()[1]:.0f} to {worker.writing()[-1]:.0f} in "
        f"{worker.lanes} lanes and holds {worker.cells:,} tokens' cells; {args.chats:g} open chats each.",
        "## By size",
        "\n".join(sizes(worker, args.chats, args.conversations, args.replicas, shape)),
        "## Open chats that a replica carries",
        "So that 95 % of first tokens come within twice the time that one chat has alone, or within a second "
        "where that is longer.",
        "\n".join(capacity(shape)),
        "## What memory for cells is worth: 3 replicas",
        "\n".join(memories(worker, shape)),
        f"`benchmarks/scale.py`, Python {platform.python_version()}, {time.perf_counter() - began:.0f} s.",
    ]
    text = "\n\n".join(parts) + "\n"
    if args.output:
        args.output.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
