"""What was said: a tree of messages, and the head from which it goes on. Frozen values.

Asking again, answering again and taking back move the head: a message that was said stays in the tree, as a
branch. `llamachat.store` keeps trees in a file.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message. What follows `created_at` is known of answers only, and makes no other message of it.

    `finish_reason` is `stop`, `length`, `interrupted` or `error`; None while an answer grows, and forever
    if the program was killed. A `note` was not said: it sums up what has gone out of the window, and the
    newest one stays in it. `pictures` are `data:` URLs, which come before the text. Times are seconds since
    1970; `model` and `server` (a URL) are where the answer comes from, `parameters` what its request said
    besides the messages, `timings` as in `core.events.Done`.
    """

    role: Role
    content: str
    pinned: bool = False
    note: bool = False
    pictures: tuple[str, ...] = ()
    finish_reason: str | None = None
    created_at: float = field(default_factory=time.time, compare=False)
    model: str | None = field(default=None, compare=False)
    server: str | None = field(default=None, compare=False)
    parameters: Mapping[str, Any] | None = field(default=None, compare=False)
    prompt_tokens: int | None = field(default=None, compare=False)
    completion_tokens: int | None = field(default=None, compare=False)
    timings: Mapping[str, Any] | None = field(default=None, compare=False)
    finished_at: float | None = field(default=None, compare=False)

    @property
    def is_system(self) -> bool:
        """Whether it is the system message from here on; a note stays in its place."""
        return self.role == "system" and not self.note

    @property
    def is_question(self) -> bool:
        return self.role == "user" and not self.note

    @property
    def is_answer(self) -> bool:
        return self.role == "assistant" and not self.note

    @property
    def cut(self) -> str:
        """Why an answer is not whole; empty for every other message."""
        reason = self.finish_reason or ("interrupted" if self.role == "assistant" else "stop")
        return "" if reason == "stop" else reason

    def as_request(self) -> dict[str, Any]:
        """The message in the form that `/v1/chat/completions` takes."""
        if not self.pictures:
            return {"role": self.role, "content": self.content}
        # Another question about the same picture has the same beginning, which the server knows already.
        parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": u}} for u in self.pictures]
        text = [{"type": "text", "text": self.content}] if self.content else []
        return {"role": self.role, "content": [*parts, *text]}


@dataclass(frozen=True, slots=True)
class Node:
    """A message in its place in the tree; `parent` is the id of the one before it, None for the first."""

    id: int
    parent: int | None
    message: Message


@dataclass(frozen=True, slots=True)
class Branch:
    """One end of the tree: the path that ends in node `id`. `question` is its last one."""

    id: int
    messages: int
    question: str
    current: bool


@dataclass(frozen=True, eq=False)
class Conversation:
    """`nodes` by their ids, each after its parent; `head` is None before the first message.

    The path to the head holds every message in the order of speaking. `messages` is what the model is to
    see of it: the system message that holds now (a later one replaces an earlier), then the turns: a user
    message and, once it came, its answer. Indexes count in `messages`.
    """

    nodes: Mapping[int, Node] = field(default_factory=dict)
    head: int | None = None

    @classmethod
    def of(cls, messages: Iterable[Message]) -> Conversation:
        """A conversation without branches; its ids count from 0."""
        nodes = {i: Node(i, i - 1 if i else None, message) for i, message in enumerate(messages)}
        return cls(nodes, len(nodes) - 1 if nodes else None)

    def __len__(self) -> int:
        return len(self.messages)

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    @cached_property
    def path(self) -> tuple[Node, ...]:
        return self._path_to(self.head)

    @cached_property
    def seen(self) -> tuple[Node, ...]:
        """The nodes of `messages`."""
        system = [node for node in self.path if node.message.is_system][-1:]
        spoken = (node for node in self.path if not node.message.is_system)
        return (*(node for node in system if node.message.content), *spoken)

    @cached_property
    def messages(self) -> tuple[Message, ...]:
        return tuple(node.message for node in self.seen)

    @property
    def system(self) -> Message | None:
        first = self.messages[0] if self.messages else None
        return first if first and first.is_system else None

    @property
    def last(self) -> Node | None:
        """The last message that was said, or the last note."""
        return next((n for n in reversed(self.path) if not n.message.is_system), None)

    @property
    def last_answer(self) -> Message | None:
        return next((m for m in reversed(self.messages) if m.is_answer), None)

    @property
    def last_question(self) -> Message | None:
        return next((m for m in reversed(self.messages) if m.is_question), None)

    @property
    def unanswered(self) -> Message | None:
        """The question that the conversation ends with."""
        last = self.last
        return last.message if last and last.message.is_question else None

    @property
    def model(self) -> str | None:
        """The model of the last answer."""
        return next((n.message.model for n in reversed(self.path) if n.message.model), None)

    @property
    def branches(self) -> tuple[Branch, ...]:
        """The ends of the tree and the head, the newest first."""
        parents = {node.parent for node in self.nodes.values()}
        ends = (i for i in self.nodes if i not in parents or i == self.head)
        return tuple(self._branch(end) for end in sorted(ends, reverse=True))

    # -- moves of the head ----------------------------------------------------------------------------

    def at(self, node_id: int | None) -> Conversation:
        """The same tree with its head at another node. Raises KeyError if there is no such node."""
        if node_id is not None:
            _ = self.nodes[node_id]
        return replace(self, head=node_id)

    def with_message(self, message: Message) -> Conversation:
        new = max(self.nodes, default=-1) + 1
        return Conversation({**self.nodes, new: Node(new, self.head, message)}, new)

    def with_turn(self, question: Message, answer: Message) -> Conversation:
        return self.with_message(question).with_message(answer)

    def with_system(self, text: str) -> Conversation:
        """The same turns under another system message; none if `text` is empty."""
        if text == (self.system.content if self.system else ""):
            return self
        return self.with_message(Message("system", text))

    def at_last_question(self) -> Conversation:
        """Ready for another answer to the last question. Raises LookupError if nothing was asked."""
        return self._under_system(self._last_question().id)

    def without_last_turn(self) -> Conversation:
        """Everything before the last question. Raises LookupError if nothing was asked."""
        return self._under_system(self._last_question().parent)

    def without_last(self) -> Conversation:
        """Everything before the message that the conversation ends with."""
        return self._under_system(self.last.parent) if self.last else self

    def without_unanswered(self) -> Conversation:
        """Without the question that the conversation ends with, if it does."""
        return self.without_last_turn() if self.unanswered else self

    # -- changes of what was said ---------------------------------------------------------------------

    def with_pin(self, index: int, pinned: bool = True) -> Conversation:
        node = self.seen[index]
        return self.changed(node.id, replace(node.message, pinned=pinned))

    def changed(self, node_id: int, message: Message) -> Conversation:
        """The tree with another message in that place."""
        return replace(self, nodes={**self.nodes, node_id: replace(self.nodes[node_id], message=message)})

    def _under_system(self, node_id: int | None) -> Conversation:
        return self.at(node_id).with_system(self.system.content if self.system else "")

    def _last_question(self) -> Node:
        question = next((n for n in reversed(self.path) if n.message.is_question), None)
        if question is None:
            raise LookupError("nothing was asked")
        return question

    def _path_to(self, node_id: int | None) -> tuple[Node, ...]:
        path: list[Node] = []
        while node_id is not None and node_id in self.nodes:
            path.append(self.nodes[node_id])
            node_id = path[-1].parent
        return tuple(reversed(path))

    def _branch(self, end: int) -> Branch:
        spoken = [n.message for n in self._path_to(end) if n.message.role != "system"]
        question = next((m.content for m in reversed(spoken) if m.is_question), "")
        return Branch(end, len(spoken), question, end == self.head)
