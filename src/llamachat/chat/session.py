"""One chat, whoever holds it: its conversation, what it is set to, and the server that answers."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from llamachat.chat.context import ContextWindow
from llamachat.client import ServerFacts
from llamachat.client.stream import ChatClient
from llamachat.core import presets
from llamachat.core.conversation import Conversation, Message
from llamachat.core.presets import Lang
from llamachat.core.sampling import Sampling
from llamachat.core.visible import one_line
from llamachat.core.window import ON_FULL, OnFull
from llamachat.errors import LlamachatError, UsageError
from llamachat.language import _
from llamachat.store.journal import NoJournal


@dataclass(frozen=True, slots=True)
class Settings:
    """What a chat is set to. `system` is the first message of new conversations, None for the language's."""

    model: str = presets.MODEL
    lang: Lang = "zh"
    system: str | None = None
    on_full: OnFull = "drop"
    sampling: Sampling = field(default_factory=Sampling)

    @property
    def remembered(self) -> dict[str, Any]:
        """What a conversation is resumed with."""
        return {"lang": self.lang, "on_full": self.on_full, "sampling": self.sampling.given()}

    def resumed(self, before: Mapping[str, Any], keep: Sequence[str] = ()) -> Settings:
        """These with what was remembered, except the names in `keep`.

        What this version does not know of it, which an import can bring, is left out.
        """
        lang = next((known for known in presets.SYSTEM if known == before.get("lang")), self.lang)
        on_full = next((known for known in ON_FULL if known == before.get("on_full")), self.on_full)
        sampling, given = self.sampling, before.get("sampling")
        for name, value in given.items() if isinstance(given, dict) else ():
            if name not in keep:
                sampling = sampling.restored(name, value)
        return replace(
            self,
            lang=self.lang if "lang" in keep else lang,
            on_full=self.on_full if "on_full" in keep else on_full,
            sampling=sampling,
        )


@dataclass(slots=True)
class Session:
    """`facts` is what the server said of itself last, `attached` (texts) and `pictures` (`data:` URLs) go out
    with the next message.

    `cut` is the node of an answer that broke off: it is in no turn, and can be continued. `id` names the
    conversation to servers, so that all of its requests can go to the one that knows it. `on_top` has
    it come first in lists. `piped`: its messages come from a pipe, so that it is not what a person left last.
    """

    client: ChatClient
    journal: NoJournal
    window: ContextWindow
    settings: Settings
    conversation: Conversation
    facts: ServerFacts | None = None
    attached: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    cut: int | None = None
    on_top: bool = False
    piped: bool = False
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def open(
        cls,
        client: ChatClient,
        journal: NoJournal,
        settings: Settings,
        *,
        facts: ServerFacts | None = None,
        n_ctx: int | None = None,
        piped: bool = False,
    ) -> Session:
        """A session at a new conversation; `n_ctx` is the window if the server does not say it."""
        window = ContextWindow(lambda: client.window(session.asked_model), n_ctx=n_ctx)
        session = cls(client, journal, window, settings, Conversation(), facts, piped=piped)
        session.begin()
        return session

    @property
    def asked_model(self) -> str:
        """The model that requests name."""
        return self.facts.asked(self.settings.model) if self.facts else self.settings.model

    @property
    def answering(self) -> str:
        """The model that answers, as far as is known."""
        return (self.facts and self.facts.model) or self.settings.model

    @property
    def cut_answer(self) -> Message | None:
        """What came of the answer that broke off."""
        return None if self.cut is None else self.conversation.nodes[self.cut].message

    # -- which conversation ---------------------------------------------------------------------------

    def begin(self) -> None:
        """A new conversation."""
        self.id, self.on_top = uuid.uuid4().hex, False
        self._go_to(presets.seed(self.settings.lang, self.settings.system))
        self.journal.start(self.conversation, self._remembered)

    def resume(self, reference: str | None = None, keep: Sequence[str] = ()) -> Conversation:
        """Go on with a stored conversation (an id or a name, None for the last) under its own settings.

        Settings named in `keep` stay. Returned is the conversation as it was left, which may end with a
        question that no answer came to.
        """
        stored = self.journal.resume(reference)
        before = stored.heading.settings
        self.settings = self.settings.resumed(before, keep)
        self.id = str(before.get("session") or uuid.uuid4().hex)
        self.on_top = before.get("on_top") is True
        self.piped = self.piped and before.get("piped") is True
        self._go_to(stored.conversation)
        if before.get("piped") is True and not self.piped:
            self.journal.remember(self._remembered)
        return stored.conversation

    def switch_to(self, conversation: Conversation) -> None:
        """Go on from another place in the conversation."""
        self.journal.save(conversation)
        self._go_to(conversation)

    def _go_to(self, conversation: Conversation) -> None:
        """A cut answer belongs to the place that is left; what is attached, to the next message."""
        self.conversation = conversation.without_unanswered()
        self.cut = None
        self.window.max_tokens = self.settings.sampling.max_tokens
        self.window.resume(self.conversation)

    # -- what it is set to ----------------------------------------------------------------------------

    def change(self, settings: Settings) -> None:
        """Other settings from now on, and when the conversation is resumed."""
        if settings.model != self.settings.model:
            self._check_model(settings.model)
            self.window.forget_server()  # another model has another window, and counts otherwise
        self.settings = settings
        self.window.max_tokens = settings.sampling.max_tokens
        self.journal.remember(self._remembered)

    def _check_model(self, name: str) -> None:
        """Raises UsageError if the server says that it does not have the model."""
        names = () if name == presets.MODEL else self.client.models()
        if names and name not in names and f"{name}:latest" not in names:
            has = ", ".join(one_line(known, 80) for known in names)
            raise UsageError(
                _("The server has no model {name!r}.").format(name=name),
                _("It has {names}.").format(names=has),
            )

    def set_system(self, text: str) -> None:
        """Another system message from here on."""
        self.conversation = self.conversation.with_system(text)
        self.journal.save(self.conversation)
        self.window.system_changed(self.conversation)

    def set_language(self, lang: Lang) -> None:
        """The language of new conversations, and of this one's system message unless that is another."""
        message, before = self.conversation.system, presets.SYSTEM[self.settings.lang]
        self.change(replace(self.settings, lang=lang))
        if message and message.content == before:
            self.set_system(presets.SYSTEM[lang])

    @property
    def attachments(self) -> int:
        """How many files go out with the next message."""
        return len(self.attached) + len(self.pictures)

    def detach(self) -> None:
        self.attached.clear()
        self.pictures.clear()

    def put_on_top(self, on_top: bool) -> None:
        self.on_top = on_top
        self.journal.remember(self._remembered, wait=True)

    def pin(self, index: int, pinned: bool) -> None:
        self.conversation = self.conversation.with_pin(index, pinned)
        self.journal.save(self.conversation)

    @property
    def _remembered(self) -> dict[str, Any]:
        remembered = {**self.settings.remembered, "session": self.id, "on_top": self.on_top}
        return remembered | ({"piped": True} if self.piped else {})

    # -- the server -----------------------------------------------------------------------------------

    def look_at_server(self, tell: Callable[[str], None]) -> None:
        """Notice that another server, model or window is at the address since the last message."""
        try:
            said = self.client.facts()
        except LlamachatError:
            return  # It will be said of the message itself.
        before, answered, self.facts = self.facts, self.answering, said
        if before in (None, said):
            return
        self.window.forget_server()
        changed = said.n_ctx and before and said.n_ctx != before.n_ctx
        window = _(", with a window of {n_ctx} tokens").format(n_ctx=said.n_ctx) if changed else ""
        tell(
            _("[{answered} answered so far; now it is {answering}{window}]").format(
                answered=answered, answering=self.answering, window=window
            )
        )
