#!/usr/bin/env python3
"""What schemas and grammars cost: hostile ones everybody else, and a usual one each of its tokens.

    python benchmarks/schemas.py hostile [--cases 1000] [--parallel 4]
    python benchmarks/schemas.py cost

`hostile` drives `llamachat serve` on the small model. A client sends one hostile schema, raw grammar or tool
after the other and hangs up after a second; another one asks short questions all the while, and its first
tokens are compared with those beside as long a load of harmless schemas. The two loads alternate, so that a
busy minute hits both alike. Each schema is sent once: none is answered from a cache.

`cost` draws tokens with and without a schema, from the vocabularies of Llama 3 and of the small model. The
last results are in benchmarks/results/schemas.md.
"""

from __future__ import annotations

import argparse
import ctypes
import http.client
import itertools
import json
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from engine import machine, small_model
from servers import Contender, Server, running

from llamachat.engine.compiler import Compiler
from llamachat.engine.constraint import Constraint, Processors, Words, wanted
from llamachat.engine.grammar_jobs import schema_job

RESULTS = Path(__file__).parent / "results" / "schemas.md"
SECONDS_A_CASE = 1.0
BLOCK = 50
"""Hostile cases, before the harmless load has its turn for as long."""
WORDS = ("river", "stone", "cloud", "bread", "horse", "clock", "light", "paper", "field", "music")

Body = dict[str, Any]


# -- What is sent ----------------------------------------------------------------------------------------


def response_format(schema: Any) -> Body:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}}


def tool(schema: Any, choice: str) -> Body:
    function = {"name": "act", "parameters": {"type": "object", "properties": {"a": schema}}}
    return {"tools": [{"type": "function", "function": function}], "tool_choice": choice}


def nested(schema: Any, depth: int, around: Callable[[Any], Any]) -> Any:
    for _ in range(depth):
        schema = around(schema)
    return schema


def product(draw: random.Random) -> Any:
    wide = draw.randint(3, 12)
    return {"allOf": [{"anyOf": [{"minimum": n * m} for n in range(wide)]} for m in range(wide)]}


def alternatives(draw: random.Random) -> Any:
    return nested({}, draw.randint(4, 12), lambda s: {"anyOf": [{"properties": {"a": s}}, {"items": s}, s]})


def wide_enum(draw: random.Random) -> Any:
    count = draw.choice((2_000, 10_000, 45_000))
    return {"enum": ["".join(draw.choices("abcdefgh", k=draw.randint(1, 40))) for _ in range(count)]}


def long_texts(draw: random.Random) -> Any:
    return {"enum": [chr(97 + n) * draw.randint(1_000, 60_000) for n in range(8)]}


def many_properties(draw: random.Random) -> Any:
    count = draw.choice((300, 2_000, 9_000))
    schema: Body = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(count)}}
    if draw.random() < 0.5:
        schema["minProperties"] = draw.randint(1, count)
    if draw.random() < 0.5:
        schema["maxProperties"] = draw.randint(1, count)
    return schema


def one_of(draw: random.Random) -> Any:
    names = range(draw.choice((20, 80, 300)))
    return {"oneOf": [{"required": [f"a{n}"], "properties": {f"a{n}": {}}} for n in names]}


def patterns(draw: random.Random) -> Any:
    depth = draw.randint(5, 20)
    return {"patternProperties": {f"(a|b)*a(a|b){{{n}}}": {} for n in range(depth, depth + 5)}}


def pattern(draw: random.Random) -> Any:
    deep = draw.randint(2, 45)
    high = draw.choice((9, 99, 999, 99_999))
    options = (
        "(" * deep + "a" + ")*" * deep,
        "^((a{0,HIGH}b){0,HIGH}c){0,HIGH}$",
        "^(([a-z]{0,9}){0,9}){0,HIGH}$",
        "(a|b)*a(a|b){DEEP}$",
        "(.*a){DEEP}",
        "^(a?){HIGH}a{HIGH}$",
        "^(\\p{L}|\\w|\\d|[^a]){0,HIGH}\\S*$",
        "(a|aa|aaa)*(b|bb)*(a|aa)*DEEP$",
        "(x+x+)+y",
        "(?=a)b",
        "\\",
        "[",
    )
    text = draw.choice(options).replace("HIGH", str(high)).replace("DEEP", str(deep))
    more = {} if draw.random() < 0.5 else {"minLength": draw.randint(0, 3_000)}
    return {"type": "string", "pattern": text, **more}


def counts(draw: random.Random) -> Any:
    many = 10 ** draw.randint(3, 30)
    return draw.choice(
        (
            {"type": "string", "maxLength": many},
            {"type": "string", "minLength": many},
            {"type": "array", "minItems": many, "items": {"type": "array", "minItems": many}},
            {"type": "array", "maxItems": many, "prefixItems": [{}] * draw.randint(1, 3_000)},
            {"type": "object", "minProperties": many},
            {"type": "object", "maxProperties": many, "propertyNames": {"maxLength": many}},
            {"type": "array", "contains": {"type": "integer"}, "minContains": 3, "maxContains": many},
            {"type": "array", "contains": {"const": 1}, "maxContains": draw.randint(100, 500)},
        )
    )


def numbers(draw: random.Random) -> Any:
    low, high = sorted(draw.uniform(-1, 1) * 10 ** draw.randint(-300, 300) for _ in range(2))
    schema: Body = {"type": draw.choice(("number", "integer")), "minimum": low, "exclusiveMaximum": high}
    if draw.random() < 0.6:
        schema["multipleOf"] = draw.choice((7, 997, 12_345, 0.001, 1e-9, 1e300, 3.3, 10**40))
    if draw.random() < 0.3:
        schema["not"] = {"multipleOf": draw.randint(2, 3_000)}
    return schema


def recursive(draw: random.Random) -> Any:
    tree: Body = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}
    wide = [{**tree, "properties": {**tree["properties"], f"b{n}": {}}} for n in range(draw.randint(1, 30))]
    loop = {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}
    grows = {"$defs": {"a": {"allOf": [{"items": {"$ref": "#/$defs/a"}}, {"minItems": 1}]}}}
    return draw.choice(
        (
            {"anyOf": [{"type": "null"}, *wide, tree]},
            {**tree, "required": ["a"]},
            loop,
            {**grows, "allOf": [{"$ref": "#/$defs/a"}] * draw.randint(1, 90)},
            {"not": {"$ref": "#"}},
            {"allOf": [{"$ref": "#"}]},
            {"items": {"anyOf": [{"$ref": "#"}, {"type": "array", "items": {"$ref": "#"}}]}},
        )
    )


def conditions(draw: random.Random) -> Any:
    names = [f"k{n}" for n in range(draw.randint(3, 60))]
    web = {name: {"required": draw.sample(names, min(3, len(names)))} for name in names}
    branches = [
        {
            "if": {"properties": {name: {"const": 1}}},
            "then": {"required": draw.sample(names, 2)},
            "else": {"properties": {name: {"minimum": 3}}},
        }
        for name in names
    ]
    properties = {name: {"type": "integer"} for name in names}
    return draw.choice(
        (
            {"properties": properties, "dependentSchemas": web},
            {"properties": properties, "allOf": branches},
            nested({"type": "integer"}, draw.randint(5, 300), lambda schema: {"not": schema}),
            {"properties": properties, "dependentRequired": dict.fromkeys(names, names)},
        )
    )


def deep(draw: random.Random) -> Any:
    depth = draw.choice((50, 400, 900))
    key = draw.choice(("items", "additionalProperties", "not", "allOf", "const"))
    return nested({}, depth, lambda s: {key: [s]} if key == "allOf" else {key: s})


def garbage(draw: random.Random) -> Any:
    values: list[Any] = [None, -1, 1.5, "x", [], {}, [1], {"a": 1}, True, 10**30, "\x00", "é" * 9]
    keys = [
        "type",
        "enum",
        "const",
        "pattern",
        "format",
        "items",
        "properties",
        "required",
        "anyOf",
        "allOf",
        "oneOf",
        "not",
        "$ref",
        "if",
        "then",
    ]
    keys += [
        "minimum",
        "maximum",
        "multipleOf",
        "minLength",
        "maxItems",
        "prefixItems",
        "contains",
        "propertyNames",
        "$defs",
    ]
    chosen = draw.sample(keys, draw.randint(1, 5))
    schema = {key: draw.choice(values) for key in chosen}
    return {"properties": {"a": schema, '\ud7ff\\"': schema}} if draw.random() < 0.5 else schema


SCHEMAS = (
    product, alternatives, wide_enum, long_texts, many_properties, one_of, patterns, pattern, counts, numbers,
    recursive, conditions, deep, garbage,
)  # fmt: skip


def ambiguous(draw: random.Random) -> str:
    letters = draw.sample("abcdefgh", draw.randint(2, 6))
    ends = " | ".join(f'"{letter}" root "{other}"' for letter in letters[:2] for other in letters)
    any_of = draw.choice(("[a-z ]", ".", "[^x]", "[A-Za-z0-9 ,.]"))
    return draw.choice(
        (
            f"root ::= {ends}",
            f'root ::= {any_of} root {any_of} | {any_of} root "b" | ""',
            f'root ::= ({any_of}{{0,{draw.randint(9, 999_999)}}} {any_of}{{0,99}}){{0,99}} "z"',
            f"root ::= a a a a a a a\na ::= {any_of}*",
            f'root ::= a* "z"\na ::= {any_of} | {any_of} {any_of} | {any_of} {any_of} {any_of}',
        )
    )


def wide_grammar(draw: random.Random) -> str:
    count = draw.choice((500, 3_000, 9_000))
    texts = ["".join(draw.choices("abcdefghijklmnop", k=draw.randint(2, 9))) for _ in range(count)]
    if draw.random() < 0.5:
        return "root ::= (" + " | ".join(f'"{text}"' for text in texts) + ")+"
    rules = "\n".join(f'r{n} ::= "{text}" root | "{text}"' for n, text in enumerate(texts))
    return f"root ::= {' | '.join(f'r{n}' for n in range(count))}\n{rules}"


def chain(draw: random.Random) -> str:
    length = draw.choice((50, 900, 8_000))
    last = draw.choice(('"a"', "r0", '""', '"a" r0', "[a-z]*"))
    rules = "\n".join(f"r{n} ::= r{n + 1}{draw.choice(('', '?', '*'))}" for n in range(length))
    return f"root ::= r0\n{rules}\nr{length} ::= {last}"


def repeats(draw: random.Random) -> str:
    depth = draw.choice((3, 20, 95, 400))
    count = draw.choice(("{0,9}", "{0,1000000}", "{1000000}", "*", "+", "?"))
    return "root ::= " + "(" * depth + '"a"' + f"){count}" * depth


def broken(draw: random.Random) -> str:
    return draw.choice(
        (
            f"root ::= <[{draw.randint(49_000, 10**10)}]>",
            "root ::= <nobody>",
            "root ::= !<[1]>",
            "root ::= root",
            f"root ::= [{chr(0xE000)}-a]",
            f'root ::= "{"x" * draw.choice((100, 400_000))}',
            "root ::= x",
            "",
            "root ::= " + "x" * 60_000,
            f'root ::= "a"{{1,{10 ** draw.randint(6, 20)}}}',
            "root ::= [^\\x00-\\U0010FFFF]",
        )
    )


GRAMMARS = (ambiguous, wide_grammar, chain, repeats, broken)


def hostile(number: int) -> tuple[str, str, Body]:
    """The kind of the case, its path and what of its body is hostile."""
    draw = random.Random(number)
    if number % 4 == 3:
        make: Any = GRAMMARS[number // 4 % len(GRAMMARS)]
        path = draw.choice(("/v1/chat/completions", "/v1/completions"))
        return f"grammar: {make.__name__}", path, {"grammar": f"{make(draw)}\n# {number}"}
    make = SCHEMAS[(number - number // 4) % len(SCHEMAS)]
    schema = make(draw)
    if draw.random() < 0.25:
        choice = draw.choice(("auto", "required"))
        return (
            f"tool: {make.__name__}",
            "/v1/chat/completions",
            tool({**schema, "title": str(number)}, choice),
        )
    schema["title"] = str(number)
    return f"schema: {make.__name__}", "/v1/chat/completions", response_format(schema)


def harmless(number: int) -> tuple[str, str, Body]:
    draw = random.Random(number)
    names = draw.sample(WORDS, 4)
    schema = {
        "type": "object",
        "properties": {
            names[0]: {"type": "string", "maxLength": draw.randint(20, 60)},
            names[1]: {"type": "integer", "minimum": 0, "maximum": draw.randint(10, 10_000)},
            names[2]: {"enum": draw.sample(WORDS, 3)},
            names[3]: {
                "type": "array",
                "items": {"type": "string", "pattern": "^[a-z]{1,9}$"},
                "maxItems": 3,
            },
        },
        "required": names,
        "title": str(number),
    }
    return "harmless", "/v1/chat/completions", response_format(schema)


# -- The server and its clients --------------------------------------------------------------------------


def post(server: Server, path: str, body: Body | bytes, seconds: float) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=seconds)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request("POST", path, content, {"Content-Type": "application/json"})
    return connection


Case = tuple[str, str, bytes]
"""The kind, the path and the body."""


def cases(make: Callable[[int], tuple[str, str, Body]], numbers: Iterable[int]) -> Iterator[Case]:
    for number in numbers:
        kind, path, more = make(number)
        asked: Body = {"max_tokens": 48, "temperature": 0.7, **more}
        if path == "/v1/completions":
            asked["prompt"] = "Answer:"
        else:
            asked["messages"] = [{"role": "user", "content": "Make something up."}]
        yield kind, path, json.dumps(asked).encode()


def outcome(server: Server, path: str, content: bytes) -> str:
    """The status, or that there was none within its second."""
    connection = None
    try:
        connection = post(server, path, content, SECONDS_A_CASE)
        response = connection.getresponse()
        response.read()
        return str(response.status)
    except TimeoutError:
        return "hung up"
    except OSError as error:
        return type(error).__name__
    finally:
        if connection is not None:
            connection.close()


def first_token(server: Server, number: int) -> float:
    """Seconds until the first text of an answer to a question that was never asked before."""
    draw = random.Random(f"first {number}")
    question = f"Number {number}: {' '.join(draw.choices(WORDS, k=12))}. What is that about?"
    asked = {"messages": [{"role": "user", "content": question}], "max_tokens": 8, "stream": True}
    started = time.perf_counter()
    connection = post(server, "/v1/chat/completions", asked, 120)
    try:
        for line in connection.getresponse():
            if line.startswith(b"data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
                return time.perf_counter() - started
    finally:
        connection.close()
    raise RuntimeError("An answer without a text.")


@contextmanager
def asking(server: Server) -> Iterator[list[float]]:
    """A client that asks a short question again and again; the seconds to each first token."""
    found: list[float] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            found.append(first_token(server, next(_numbers)))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


_numbers = iter(range(10**9))


def serving(parallel: int) -> Contender:
    def command(model: Path, port: int) -> list[str]:
        flags = ("--n-ctx", "2048", "--parallel", str(parallel), "--port", str(port))
        return [sys.executable, "-m", "llamachat", "serve", str(model), *flags]

    return Contender("llamachat", command)


@dataclass
class Seen:
    """Of one kind of load."""

    first: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    slow: Counter[str] = field(default_factory=Counter)
    most_mb: float = 0.0

    def run(self, server: Server, block: Iterator[Case], until: float, clients: int = 1) -> None:
        lock = threading.Lock()

        def send() -> None:
            while time.monotonic() < until:
                with lock:
                    case = next(block, None)
                if case is None:
                    return
                kind, path, content = case
                said = outcome(server, path, content)
                with lock:
                    self.outcomes[said] += 1
                    self.slow[kind] += said == "hung up"
                    self.most_mb = max(self.most_mb, server.resident_mb())

        with asking(server) as found, ThreadPoolExecutor(clients) as pool:
            for future in [pool.submit(send) for _ in range(clients)]:
                future.result()
        self.first += found


def run_hostile(arguments: argparse.Namespace) -> str:
    harmless_seen, hostile_seen = Seen(), Seen()
    easy = cases(harmless, itertools.count())
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with running(serving(arguments.parallel), small_model(), home) as server:
            alone = Seen()
            harmless_seen.run(server, itertools.islice(easy, 8), float("inf"))
            harmless_seen = Seen()
            alone.run(server, pauses(4.0), float("inf"))
            before = server.resident_mb()
            until = time.monotonic() + arguments.seconds
            for begin in range(arguments.begin, arguments.cases, BLOCK):
                numbers = range(begin, min(begin + BLOCK, arguments.cases))
                block = list(cases(hostile, numbers))
                started = time.monotonic()
                hostile_seen.run(server, iter(block), float("inf"), arguments.clients)
                took = time.monotonic() - started
                harmless_seen.run(server, easy, time.monotonic() + took, arguments.clients)
                seen = (harmless_seen, hostile_seen)
                said = " ".join(
                    f"{1000 * of(s.first):.0f}" for of in (statistics.median, ninetieth) for s in seen
                )
                print(f"{numbers.stop} cases, {took:.0f} s: {said}", file=sys.stderr)
                if time.monotonic() > until:
                    break
            first_token(server, -1)  # raises unless it answers
            log = (home / "log").read_text(errors="replace")
    print("hung up:", dict(hostile_seen.slow.most_common(9)), file=sys.stderr)
    lines = ["| | |", "|---|---:|"]
    lines.append(f"| hostile cases, {SECONDS_A_CASE:.0f} s each | {hostile_seen.outcomes.total()} |")
    easily = ", ".join(f"{said} {count}" for said, count in harmless_seen.outcomes.most_common())
    print("harmless:", easily, file=sys.stderr)
    lines += [f"| answered: {said} | {count} |" for said, count in hostile_seen.outcomes.most_common()]
    more = hostile_seen.most_mb - max(before, harmless_seen.most_mb)
    lines += [
        f"| it was restarted | {log.count('restart')} times |",
        f"| memory more than beside harmless ones, at most, MB | {more:.0f} |",
        f"| others' first token without load, median, ms | {1000 * statistics.median(alone.first):.0f} |",
    ]
    for label, of in (("median", statistics.median), ("90th percentile", ninetieth)):
        usual, beside = 1000 * of(harmless_seen.first), 1000 * of(hostile_seen.first)
        lines.append(f"| others' first token beside harmless schemas, {label}, ms | {usual:.0f} |")
        lines.append(f"| beside hostile ones, {label}, ms | {beside:.0f} ({beside / usual:.1f} x) |")
    return "\n".join(lines)


def pauses(seconds: float) -> Iterator[Case]:
    """No load for so long."""
    time.sleep(seconds)
    yield from ()


def ninetieth(values: list[float]) -> float:
    return statistics.quantiles(values, n=10)[-1]


# -- What a token costs ----------------------------------------------------------------------------------


SCHEMA: Body = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 40},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 3, "maxItems": 9},
        "kind": {"enum": ["red", "green", "blue"]},
        "about": {"type": "string", "minLength": 200},
    },
    "required": ["name", "age", "tags", "kind", "about"],
}
TOKENS = 200
TOKEN_MS = 100.0
"""Of the 1b shape at Q4_K on two cores: 9.6 to 11 tokens a second (results/engine-large.md)."""


def run_cost(arguments: argparse.Namespace) -> str:
    """CPU time of the thread, in the server the model's. The logits are random, which is the worst."""
    lines = ["| | mean, ms | median | most |", "|---|---:|---:|---:|"]
    vocabulary = Path(__file__).parent / "data" / "ggml-vocab-llama-bpe.gguf"
    for name, path in (("128,000 tokens (Llama 3)", vocabulary), ("49,000 tokens (SmolLM2)", small_model())):
        llama = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
        for top_k, temperature in ((40, 0.8), (40, 0.0), (0, 0.8)):
            plain, held = token_costs(llama, top_k, temperature)
            for what, found in (("without", plain), ("with a schema", held)):
                figures = [statistics.mean(found), statistics.median(found), max(found)]
                row = " | ".join(f"{1000 * figure:.2f}" for figure in figures)
                lines.append(f"| {name}, top_k {top_k}, temperature {temperature}: {what} | {row} |")
            more = 1000 * (statistics.mean(held) - statistics.mean(plain))
            lines.append(f"| … the schema, of a token of {TOKEN_MS:.0f} ms | {more / TOKEN_MS:.1%} | | |")
    return "\n".join(lines)


def token_costs(llama: llama_cpp.Llama, top_k: int, temperature: float) -> tuple[list[float], list[float]]:
    """Seconds for each token of an answer, drawn without a schema and with one."""
    n_vocab = llama.n_vocab()
    ends = frozenset({llama.token_eos()})
    words = Words((llama.detokenize([token]) for token in range(n_vocab)), ends)
    compiler = Compiler()
    rules = compiler.rules(schema_job(SCHEMA), "schema")
    compiler.close()
    found: tuple[list[float], list[float]] = ([], [])
    for times, holds in zip(found, (False, True), strict=True):
        held = Constraint(rules, words, wanted(top_k, temperature, 0, lowers=True)) if holds else None
        processors = None if held is None else Processors((), held)
        sampler = llama._init_sampler(
            top_k=top_k, temp=temperature, repeat_penalty=1.1, logits_processor=processors
        )
        chance = np.random.default_rng(1)
        for _ in range(TOKENS):
            data = np.zeros(n_vocab, [("id", np.intc), ("logit", np.single), ("p", np.single)])
            data["id"], data["logit"] = np.arange(n_vocab), chance.normal(0, 3, n_vocab)
            array = llama_cpp.llama_token_data_array(
                data=data.ctypes.data_as(llama_cpp.llama_token_data_p),
                size=n_vocab,
                selected=-1,
                sorted=False,
            )
            started = time.thread_time()
            llama_cpp.llama_sampler_apply(sampler.sampler, ctypes.byref(array))
            token = int(array.data[array.selected].id)
            if held is not None:
                held.accept(token)
            times.append(time.thread_time() - started)
            if held is not None and held.is_over:
                held._state = rules.matcher.start
    return found


PARTS = {"hostile": run_hostile, "cost": run_cost}


def main() -> None:
    sys.setrecursionlimit(100_000)  # some cases are nested deeper than is written by default
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--cases", type=int, default=1_000)
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--clients", type=int, default=1, help="that send hostile requests at once")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end after so many")
    parser.add_argument("--begin", type=int, default=0, help="the number of the first case")
    arguments = parser.parse_args()
    report = PARTS[arguments.part](arguments)
    print(report)
    print(", ".join(f"{key} {value}" for key, value in machine().items()))


if __name__ == "__main__":
    main()
