"""A conversation that is open in the page. Its turns belong to it, not to a tab."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from llamachat.chat import attachments, turn
from llamachat.chat.session import Session
from llamachat.core import pictures
from llamachat.core.conversation import Conversation, Message, Node
from llamachat.core.events import Event, Progress, Queued, TextDelta, ThinkingDelta
from llamachat.errors import ConversationBusy, ConversationChanged, LlamachatError, NotFoundError, UsageError
from llamachat.language import _
from llamachat.texts import documents
from llamachat.web.event_log import CHANGED, EventLog

UNWATCHED_SECONDS = 600.0
CLOSE_SECONDS = 2.0
"""For so long a conversation that is closed waits for its turn, which may be connecting to a server."""

Action = Literal["ask", "edit", "retry", "continue"]


class OpenConversation:
    """One session, one turn at a time. Calls come from any thread.

    A turn that nobody has watched for `unwatched_seconds` ends.
    """

    def __init__(self, session: Session, unwatched_seconds: float = UNWATCHED_SECONDS) -> None:
        self.session = session
        self.events = EventLog()
        self._unwatched_seconds = unwatched_seconds
        self._lock = threading.Lock()
        self._counting = threading.Lock()
        self._ended = threading.Event()
        self._ended.set()
        self._running: Action | None = None
        self._question: str | None = None
        self._files: list[tuple[str, dict[str, Any]]] = []
        self._going: frozenset[str] = frozenset()
        self._stop: Callable[[], None] = lambda: None
        self._stopped = self._closed = False

    @property
    def running(self) -> bool:
        return self._running is not None

    # -- turns ----------------------------------------------------------------------------------------

    def start(self, action: Action, text: str, head: int | None, node: int | None = None) -> None:
        """Begin a turn. `head` is where the page stood; `node` the question that an edit replaces.

        Raises ConversationBusy while another turn runs, ConversationChanged if the page is out of date.
        """
        with self._lock:
            if self._running:
                raise ConversationBusy(_("An answer is being written in this conversation."))
            if head != self.session.conversation.head:
                raise ConversationChanged(
                    _("The conversation has changed meanwhile. Look at it, and send again.")
                )
            if action in ("ask", "edit") and not text.strip() and not self.session.attachments:
                raise UsageError(_("There is nothing to send."))
            if self._closed:
                raise NotFoundError(_("This conversation is no longer open."))
            before = self.session.conversation
            pictures = self._go_before(node) if action == "edit" else ()
            self._running, self._stopped = action, False
            self._ended.clear()
            self._question = text if action in ("ask", "edit") else None
            self._going = frozenset(self._attached() if self._question is not None else ())
            self.events.begin_turn()
            question = text if action == "ask" else None
            self.events.append({"type": "begin", "continues": action == "continue", "question": question})
        turn_of = (action, text, pictures, before)
        threading.Thread(target=self._run, args=turn_of, name="turn", daemon=True).start()
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def stop(self) -> None:
        self._stopped = True
        self._stop()

    def close(self) -> None:
        """End the turn, wait for its end, and store what is left. No other turn begins."""
        with self._lock:
            self._closed = True
        self.stop()
        self._ended.wait(CLOSE_SECONDS)
        self.session.journal.close()

    def _watch(self) -> None:
        """End the turn, though it may be silent, when nobody has watched it for too long."""
        while (left := self._unwatched_seconds - self.events.unwatched_seconds) > 0:
            if self._ended.wait(left):
                return
        self.stop()

    def _run(self, action: Action, text: str, pictures: tuple[str, ...], before: Conversation) -> None:
        session, face = self.session, PageFace(self)
        try:
            self._measure()
            if action == "retry":
                turn.retry(session, face)
            elif action == "continue":
                turn.go_on(session, face)
            else:
                turn.ask(session, face, text, pictures=pictures)
        except LlamachatError as error:
            if action == "edit" and not session.cut:
                session.switch_to(before)
            self.events.append({"type": "error", "text": str(error), "draft": self._question or ""})
        except Exception as error:
            self.events.append({"type": "error", "text": f"Something went wrong: {error}."})
            raise
        finally:
            # At once: the next turn must not begin before this one's end is in the events.
            with self._lock:
                self._running, self._question, self._stop = None, None, lambda: None
                self._going = frozenset()
                self.events.append({"type": "end"})
                self._ended.set()

    def _go_before(self, node_id: int | None) -> tuple[str, ...]:
        """To the place at which another question is asked instead of the one that is edited; its pictures."""
        conversation = self.session.conversation
        node = conversation.nodes.get(node_id) if node_id is not None else None
        if node is None or not node.message.is_question:
            raise UsageError(_("There is no such question in this conversation."))
        self.session.switch_to(conversation.at(node.parent))
        return node.message.pictures

    @contextmanager
    def stoppable(self, stop: Callable[[], None]) -> Iterator[None]:
        self._stop = stop
        if self._stopped:  # before there was anything to stop
            stop()
        try:
            yield
        finally:
            self._stop = lambda: None

    # -- changes --------------------------------------------------------------------------------------

    def change(self, changes: Mapping[str, Any]) -> None:
        """What a tab changes between two turns: `head`, `pin`, `unpin`, `undo`, `system`, `set`, `detach`."""
        with self._lock:
            if self._running:
                raise ConversationBusy(_("An answer is being written in this conversation."))
            session = self.session
            conversation = session.conversation
            if "head" in changes:
                if changes["head"] not in conversation.nodes:
                    raise ConversationChanged(_("That version is no longer there."))
                session.switch_to(conversation.at(changes["head"]))
            if changes.get("undo"):
                if conversation.last_question is None:
                    raise UsageError(_("Nothing was asked yet."))
                session.switch_to(conversation.without_last_turn())
            for name, pinned in (("pin", True), ("unpin", False)):
                if name in changes:
                    ids = [node.id for node in conversation.seen]
                    if changes[name] not in ids:
                        raise ConversationChanged(_("That message is no longer there."))
                    session.pin(ids.index(changes[name]), pinned)
            if "system" in changes:
                session.change(replace(session.settings, system=changes["system"]))
                session.set_system(changes["system"])
            for name, value in (changes.get("set") or {}).items():
                sampling = session.settings.sampling.with_value(name, str(value))
                session.change(replace(session.settings, sampling=sampling))
            if changes.get("detach"):
                session.detach()
        self.events.append(CHANGED)

    def take_over(self, reference: str) -> None:
        """Read the stored conversation again: somebody else has changed it."""
        with self._lock:
            if self._running:
                return
            self.session.resume(reference)
        self.events.append(CHANGED)

    def attach(self, name: str, data: bytes) -> None:
        """Let a file go out with the next message. Raises UsageError if it does not fit."""
        with self._lock:
            if pictures.is_picture(data):
                tokens = attachments.attach_picture(self.session, name, data)
                content = self.session.pictures[-1]
            else:
                text = documents.text_of(Path(name), data)
                tokens = attachments.attach(self.session, name, name.rpartition(".")[2], text)
                content = self.session.attached[-1]
            attached = self._attached()
            self._files = [file for file in self._files if file[0] in attached]
            self._files.append((content, {"name": name, "tokens": tokens}))
        self.events.append(CHANGED)

    def _attached(self) -> tuple[str, ...]:
        return (*self.session.attached, *self.session.pictures)

    def _measure(self) -> None:
        with self._counting:
            self.session.window.measure()

    def _measure_soon(self) -> None:
        def measure() -> None:
            self._measure()
            self.events.append(CHANGED)

        threading.Thread(target=measure, name="count", daemon=True).start()

    # -- what a tab shows -----------------------------------------------------------------------------

    def view(self) -> dict[str, Any]:
        """Everything that a tab shows, and the place in the events from which it goes on.

        How full the window is comes later where a long conversation has to be counted for it.
        """
        running, question = self._running, self._question
        if not (measured := self.session.window.measured) and not running:
            self._measure_soon()
        offset = self.events.start_of_turn if running else self.events.end
        session, conversation = self.session, self.session.conversation
        if running == "retry":
            conversation = conversation.at_last_question()
        messages = _messages(conversation, session)
        waiting = set(self._attached()) - self._going
        if running == "continue" and session.cut is not None:
            messages = _messages(conversation.at(session.cut), session)
        elif running and question is not None:
            messages.append(_message_value(Message("user", question), len(messages), seen=True))
        elif session.cut is not None and not running:
            messages = _messages(conversation.at(session.cut), session)
        return {
            "head": conversation.head if not running else session.conversation.head,
            "messages": messages,
            "running": running is not None,
            "offset": offset,
            "window": session.window.status if measured else "",
            "files": [file for content, file in self._files if content in waiting],
            "settings": {
                **session.settings.sampling.given(),
                "system": conversation.system.content if conversation.system else "",
            },
        }


class PageFace:
    """Shows a turn as events; what is asked is refused, and the error says what to do."""

    commands = False

    def __init__(self, conversation: OpenConversation) -> None:
        self._conversation = conversation
        self._events = conversation.events

    @contextmanager
    def answer(self, stop: Callable[[], None]) -> Iterator[PageFace]:
        with self._conversation.stoppable(stop):
            yield self

    def show(self, event: Event) -> None:
        if isinstance(event, TextDelta):
            self._events.append({"type": "text", "text": event.text})
        elif isinstance(event, ThinkingDelta):
            self._events.append({"type": "thinking", "text": event.text})
        elif isinstance(event, Progress):
            self._events.append({"type": "progress", "total": event.total, "processed": event.processed})
        elif isinstance(event, Queued):
            self._events.append({"type": "queued", "position": event.position})

    def tell(self, text: str) -> None:
        self._events.append({"type": "notice", "text": text})

    def ask(self, question: str) -> bool:
        return False


def _messages(conversation: Conversation, session: Session) -> list[dict[str, Any]]:
    children = _children(conversation)
    values = []
    for number, node in enumerate(conversation.seen):
        value = _message_value(node.message, number, seen=not session.window.has_dropped(node.id))
        siblings = [n.id for n in children.get(node.parent, ()) if n.message.role == node.message.role]
        value |= {"id": node.id, "siblings": siblings, "tips": [_tip(children, i) for i in siblings]}
        values.append(value)
    return values


def _message_value(message: Message, number: int, *, seen: bool) -> dict[str, Any]:
    timings = message.timings or {}
    return {
        "id": None,
        "number": number,
        "role": message.role,
        "content": message.content,
        "pictures": list(message.pictures),
        "pinned": message.pinned,
        "note": message.note,
        "finish_reason": message.cut or None,
        "model": message.model,
        "completion_tokens": message.completion_tokens,
        "speed": timings.get("predicted_per_second"),
        "seen": seen,
    }


def _children(conversation: Conversation) -> dict[int | None, list[Node]]:
    children: dict[int | None, list[Node]] = {}
    for node in conversation.nodes.values():
        children.setdefault(node.parent, []).append(node)
    return children


def _tip(children: Mapping[int | None, list[Node]], node_id: int) -> int:
    """The newest message below a node: where one goes who goes to that version."""
    while below := children.get(node_id):
        node_id = max(node.id for node in below)
    return node_id
