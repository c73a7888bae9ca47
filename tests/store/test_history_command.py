"""`llamachat history` as a process, and in a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pexpect
import pyte
import pytest

from llamachat.core.conversation import Conversation
from llamachat.errors import ExitStatus
from llamachat.store.journal import Journal
from tests.store.helpers import Talk, no_trouble

Result = subprocess.CompletedProcess[bytes]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with two conversations; the first has two branches and a hostile answer."""
    with Journal(tmp_path / "transcripts.db", no_trouble) as journal:
        seed = Conversation().with_system("Be short.")
        for questions in (["大模型是什么？", "What is llama.cpp?"], ["Why is the sky blue?"]):
            talk = Talk(journal, seed, {"temperature": 0.7})
            for question in questions:
                talk.ask(question)
                talk.answer()
                talk.write(f"answer to {question}\n\x1b]0;owned\x07second line")
                talk.finish(prompt_tokens=9, completion_tokens=4)
            if len(questions) == 2:
                journal.name("models")
                talk.go_to(talk.conversation.without_last_turn().at_last_question())
    return tmp_path


def environment(home: Path) -> dict[str, str]:
    dropped = ("LLAMACHAT_", "XDG_", "LESS", "PAGER", "MANPAGER", "COLUMNS", "LINES")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    folders = {
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "TERM": "xterm-256color",
    }
    return {**kept, **folders, "HOME": str(home), "LLAMACHAT_TRANSCRIPTS": str(home / "transcripts.db")}


def history(home: Path, *words: str, stdin: bytes = b"", **variables: str) -> Result:
    command = [sys.executable, "-m", "llamachat", "history", *words]
    return subprocess.run(
        command, input=stdin, capture_output=True, env={**environment(home), **variables}, timeout=60
    )


def lines(result: Result) -> list[str]:
    assert result.stderr == b"" and result.returncode == ExitStatus.OK
    return result.stdout.decode().splitlines()


def test_list_is_plain_in_a_pipe(home: Path) -> None:
    rows = [line.split("\t") for line in lines(history(home, "list"))]
    assert [(r[0], r[2], r[3], r[4]) for r in rows] == [
        ("2", "2", "small", "Why is the sky blue?"),
        ("1", "4", "small", "models: 大模型是什么？"),
    ]
    assert len(lines(history(home, "list", "--limit", "1"))) == 1


def test_list_gives_json(home: Path) -> None:
    found = json.loads(history(home, "list", "--json").stdout)
    assert [c["id"] for c in found] == [2, 1] and found[1]["name"] == "models"


def test_show_takes_a_name_an_id_and_a_branch(home: Path) -> None:
    assert lines(history(home, "show", "models"))[3:] == ["user:", "大模型是什么？"]
    assert "Why is the sky blue?" in lines(history(home, "show", "2"))
    assert "What is llama.cpp?" in lines(history(home, "show", "1", "--branch", "5"))
    shown = json.loads(history(home, "show", "--json", "2").stdout)
    assert shown["messages"][-1]["parameters"] == {"temperature": 0.7}


@pytest.mark.parametrize("words", [["模型"], ["型"], ["什么", "模型"], ["LLAMA.CPP"], ["sky", "blue"]])
def test_search_shows_the_line_of_the_hit(home: Path, words: list[str]) -> None:
    for line in lines(history(home, "search", *words)):
        assert all(word.lower() in line.lower() for word in words)
        assert "second line" not in line


@pytest.mark.parametrize("query", ["nowhere", '"', "*", "a AND (", "NEAR(", "'; DROP TABLE message"])
def test_a_search_without_hits_says_so_by_its_status(home: Path, query: str) -> None:
    result = history(home, "search", query)
    assert (result.returncode, result.stdout, result.stderr) == (ExitStatus.ERROR, b"", b"")


def test_export_and_import_keep_everything(home: Path) -> None:
    exported = history(home, "export", "--all", "--format", "json").stdout
    other = home / "other"
    other.mkdir()
    assert history(other, "import", "-", stdin=exported).returncode == ExitStatus.OK
    assert history(other, "export", "--all", "--format", "json").stdout == exported
    hits = history(home, "search", "--json", "模型").stdout
    assert history(other, "search", "--json", "模型").stdout == hits


def test_jsonl_is_openai_form_and_comes_back(home: Path) -> None:
    exported = history(home, "export", "2", "--format", "jsonl").stdout
    messages = json.loads(exported)["messages"]
    assert [m["role"] for m in messages] == ["system", "user", "assistant"]
    assert all(set(m) == {"role", "content"} for m in messages)
    file = home / "talk.jsonl"
    file.write_bytes(exported * 2)
    assert history(home, "import", str(file)).returncode == ExitStatus.OK
    assert history(home, "export", "3", "4", "--format", "jsonl").stdout == exported * 2


def test_jsonl_comes_back_whatever_ends_a_line_elsewhere(home: Path) -> None:
    talk = [{"role": "user", "content": "one\x85two\u2028three\u2029four\nfive\x0bsix\x00"}]
    given = json.dumps({"messages": talk}).encode()
    assert history(home, "import", "-", stdin=given).returncode == ExitStatus.OK
    shown = history(home, "export", "3", "2", "--format", "jsonl").stdout
    assert history(home, "import", "-", stdin=shown).returncode == ExitStatus.OK
    contents = json.loads(history(home, "show", "4", "--json").stdout)["messages"]
    assert [message["content"] for message in contents] == [talk[0]["content"]]


def test_what_is_imported_can_be_listed_and_named(home: Path) -> None:
    """Times before the year 1000, and a name that would be taken for an id."""
    old = {"name": "12", "created_at": -6e10, "messages": [{"role": "user", "content": "x"}]}
    assert history(home, "import", "-", stdin=json.dumps(old).encode()).returncode == ExitStatus.OK
    newest = json.loads(history(home, "list", "--json").stdout)[0]
    assert newest["created_at"].startswith("0068-") and newest["name"] is None


def test_markdown_goes_to_a_new_private_file_only(home: Path) -> None:
    file = home / "talk.md"
    assert history(home, "export", "models", "-o", str(file)).returncode == ExitStatus.OK
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# models\n") and "## User\n\n大模型是什么？\n" in text
    assert os.name != "posix" or file.stat().st_mode & 0o077 == 0
    assert history(home, "export", "2", "-o", str(file)).returncode == ExitStatus.USAGE
    assert file.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    "content",
    [
        "",
        "nonsense",
        "3",
        '{"messages": 3}',
        '[{"role": "tool", "content": "x"}]',
        '[{"role": "user"}]',
        '[{"role": "user", "content": "x", "created_at": 1e20}]',
        '[{"role": "user", "content": "x", "created_at": NaN}]',
        '[{"role": "user", "content": "x", "prompt_tokens": 1' + "0" * 30 + "}]",
        '[{"role": "user", "content": "x", "model": {"name": "y"}}]',
        '[{"role": "user", "content": "x", "pinned": "no"}]',
        "1" * 5000,
        "[" * 100_000,
        "{}\n" + "[" * 100_000,
    ],
)
def test_what_can_not_be_imported_is_said_in_one_line(home: Path, content: str) -> None:
    before = history(home, "export", "--all", "--format", "json").stdout
    result = history(home, "import", "-", stdin=content.encode())
    assert result.returncode == ExitStatus.STORE
    assert result.stderr.decode().count("\n") == 1 and result.stderr.startswith(b"llamachat: ")
    assert history(home, "export", "--all", "--format", "json").stdout == before


def test_the_place_of_a_mistake_in_an_import_is_named(home: Path) -> None:
    content = json.dumps([{"role": "user", "content": "x"}, {"role": "tool", "content": "y"}])
    result = history(home, "import", "-", stdin=content.encode())
    assert "Conversation 1, message 2, role: " in result.stderr.decode()


def test_rm_asks_and_leaves_no_trace(home: Path) -> None:
    refused = history(home, "rm", "models")
    assert refused.returncode == ExitStatus.USAGE and b"--yes" in refused.stderr
    assert len(lines(history(home, "list"))) == 2
    assert history(home, "rm", "models", "--yes").returncode == ExitStatus.OK
    assert len(lines(history(home, "list"))) == 1
    for file in home.glob("transcripts.db*"):
        assert "大模型".encode() not in file.read_bytes() and b"llama" not in file.read_bytes()
    assert len(lines(history(home, "search", "sky"))) == 2


def test_rm_takes_an_age(home: Path) -> None:
    assert history(home, "rm", "--older-than", "30d", "--yes").returncode == ExitStatus.OK
    assert len(lines(history(home, "list"))) == 2
    assert history(home, "rm", "--older-than", "0h", "--yes").returncode == ExitStatus.OK
    assert lines(history(home, "list")) == []
    wrong = history(home, "rm", "--older-than", "soon", "--yes")
    assert wrong.returncode == ExitStatus.USAGE and b"--older-than" in wrong.stderr


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["show", "nobody"], ExitStatus.STORE),
        (["show", "1", "--branch", "99"], ExitStatus.STORE),
        (["export"], ExitStatus.USAGE),
        (["rm"], ExitStatus.USAGE),
        (["list", "--limit", "0"], ExitStatus.USAGE),
        (["list", "--transcripts", "nowhere.db"], ExitStatus.STORE),
        (["import", "nowhere.json"], ExitStatus.USAGE),
    ],
)
def test_a_mistake_is_said_in_one_line(home: Path, words: list[str], status: ExitStatus) -> None:
    result = history(home, *words)
    assert result.returncode == status and result.stdout == b""
    assert result.stderr.startswith(b"llamachat: ") and result.stderr.count(b"\n") == 1


def test_nothing_is_made_where_nothing_was_said(home: Path) -> None:
    environ = environment(home)
    del environ["LLAMACHAT_TRANSCRIPTS"]
    command = [sys.executable, "-m", "llamachat", "history", "list"]
    result = subprocess.run(command, capture_output=True, env=environ, timeout=60)
    assert (result.returncode, result.stderr) == (0, b"There are no conversations yet.\n")
    assert not (home / "data").exists()


def test_a_closed_pipe_is_no_traceback(home: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "llamachat", "history", "list"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(home),
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == ExitStatus.ERROR


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["export", "--all"]])
def test_output_that_can_not_be_written_is_said_in_one_line(home: Path, words: list[str]) -> None:
    command = [sys.executable, "-m", "llamachat", "history", *words]
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, env=environment(home), timeout=60
        )
    assert result.returncode == ExitStatus.STORE
    assert result.stderr.startswith(b"llamachat: The output can't be written")
    assert result.stderr.count(b"\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no pty")
def test_a_terminal_gets_a_table_a_question_and_no_escape_of_the_model(home: Path) -> None:
    def screen(*words: str, answer: str = "") -> str:
        command = ["-m", "llamachat", "history", *words]
        child = pexpect.spawn(
            sys.executable,
            command,
            env={**environment(home)},
            encoding="utf-8",
            dimensions=(60, 100),
            timeout=60,
        )
        if answer:
            child.expect_exact("[y/N]")
            child.sendline(answer)
        child.expect(pexpect.EOF)
        child.close()
        return str(child.before)

    table = screen("list")
    assert "messages" in table and "models: 大模型是什么？" in table
    shown = screen("show", "2")
    assert "␛]0;owned" in shown and "\x1b]0;" not in shown
    assert "\x1b[1;32m模型" in screen("search", "模型")
    assert "Nothing was removed." in screen("rm", "2", answer="n")
    assert "Removed: 1." in screen("rm", "2", answer="y")


@pytest.mark.skipif(sys.platform == "win32", reason="no pty")
def test_more_than_a_screen_goes_through_the_pager_and_a_hit_is_one_line(tmp_path: Path) -> None:
    with Journal(tmp_path / "transcripts.db", no_trouble) as journal:
        Talk(journal).ask("a paragraph without end, " * 100)

    def shown(*words: str) -> str:
        more = {"PAGER": "sed s/^/paged:/", "MANPAGER": "sed s/^/wrong:/"}
        child = pexpect.spawn(
            sys.executable,
            ["-m", "llamachat", "history", *words],
            env={**environment(tmp_path), **more},
            encoding="utf-8",
            dimensions=(24, 60),
            timeout=60,
        )
        child.expect(pexpect.EOF)
        child.close()
        return str(child.before)

    assert shown("show").count("paged:") > 40 and "wrong:" not in shown("show")
    assert len(shown("search", "paragraph").splitlines()) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="no pty")
@pytest.mark.parametrize("columns", [60, 80])
def test_long_chinese_titles_leave_the_columns_aligned_and_whole(tmp_path: Path, columns: int) -> None:
    titles = ["大模型的上下文窗口是什么？" * 5, "short", "mixed 中文 and English " * 4]
    with Journal(tmp_path / "transcripts.db", no_trouble) as journal:
        for title in titles:
            Talk(journal).ask(title)
    child = pexpect.spawn(
        sys.executable,
        ["-m", "llamachat", "history", "list"],
        env=environment(tmp_path),
        encoding="utf-8",
        dimensions=(24, columns),
        timeout=60,
    )
    child.expect(pexpect.EOF)
    child.close()
    screen = pyte.Screen(columns, 24)
    pyte.Stream(screen).feed(str(child.before))
    head, *found = [line.rstrip() for line in screen.display if line.strip()]
    begin = screen.display[0].index("name or title")
    assert head.split()[:3] == ["id", "last", "messages"]
    assert [line.split()[0] for line in found] == ["3", "2", "1"]
    assert [line[begin:][:5] for line in found] == ["mixed", "short", "大模型的上"]
