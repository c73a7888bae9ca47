"""One chat: its conversation and everything that a turn or a command may need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llamachat.chat.context import Context
from llamachat.client import ChatClient, ServerFacts
from llamachat.core.conversation import Conversation
from llamachat.core.presets import Lang
from llamachat.core.sampling import Sampling
from llamachat.errors import ExitStatus
from llamachat.store.journal import NoJournal
from llamachat.terminal.base import Terminal


@dataclass(slots=True)
class Session:
    """`draft` is given back for editing at the next prompt; `attached` goes out with the next message.

    `cut` is the node of an answer that broke off: it is in no turn, and /continue takes it up.

    `served` names the model that the server says it has, None where it says nothing; `model` is the one that
    requests name; `facts` is what the server said of itself last; `transcripts` is the file that other
    conversations are read from.
    """

    terminal: Terminal
    client: ChatClient
    context: Context
    journal: NoJournal
    transcripts: Path
    conversation: Conversation
    model: str
    served: str | None
    lang: Lang
    facts: ServerFacts | None = None
    system: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    show_stats: bool = False
    stats: str = ""
    draft: str = ""
    attached: list[str] = field(default_factory=list)
    cut: int | None = None
    leaving: bool = False
    exit_status: ExitStatus = ExitStatus.OK

    def revise(self, change: Callable[[Conversation], Conversation]) -> None:
        """Change what was said."""
        self.conversation = change(self.conversation)
        self.journal.save(self.conversation)

    def look_at_window(self) -> None:
        """The conversation is another one than was sent last: see anew what fits, and say how full it is."""
        self.context.resume(self.conversation, self.sampling.max_tokens)
        self.terminal.status(self.context.status)

    @property
    def answering(self) -> str:
        """The model that answers, as far as is known."""
        return self.served or self.model

    @property
    def settings(self) -> dict[str, Any]:
        """What a conversation is taken up with again."""
        return {"lang": self.lang, "on_full": self.context.on_full, "sampling": self.sampling.given()}

    def take_draft(self) -> str:
        draft, self.draft = self.draft, ""
        return draft
