"""A chat without a model: stores made-up turns and prints each piece once the journal has taken it.

    python -m tests.store.fake_chat FILE TURNS [PAUSE] [LABEL]

Lines on stdout: `Q<json>` a question (printed after `ask` returned), `A<time> <json>` a piece of an answer.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from llamachat.core.conversation import Conversation
from llamachat.errors import StoreError
from llamachat.store.journal import Journal
from tests.store.helpers import Talk


def say(kind: str, value: object) -> None:
    sys.stdout.write(f"{kind}{json.dumps(value)}\n")
    sys.stdout.flush()


def report(error: StoreError) -> None:
    say("E", str(error))


def main() -> None:
    path, turns = Path(sys.argv[1]), int(sys.argv[2])
    pause = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
    label = sys.argv[4] if len(sys.argv) > 4 else "chat"
    with Journal(path, report) as journal:
        talk = Talk(journal, Conversation().with_system("short"), {"temperature": 0.7})
        for turn in range(turns):
            question = f"{label} question {turn} 第{turn}个问题"
            talk.ask(question)
            say("Q", question)
            talk.answer()
            for n in range(12):
                piece = f"{label} answer {turn}.{n} 模型 "
                talk.write(piece)
                say("A", [time.time(), turn, piece])
                time.sleep(pause)
            talk.finish("stop", prompt_tokens=10, completion_tokens=12, timings={"predicted_n": 12})
    say("D", turns)


if __name__ == "__main__":
    main()
