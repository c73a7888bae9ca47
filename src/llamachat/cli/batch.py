"""`llamachat batch`: the same question for every row of a file."""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llamachat.cli import console, programs
from llamachat.errors import ExitStatus, LlamachatError, RowsFailed, UsageError
from llamachat.language import _
from llamachat.programs import rows
from llamachat.programs.asking import Asker
from llamachat.programs.batch import Batch, Kept, Task, count, prepare
from llamachat.programs.batch_journal import BatchJournal
from llamachat.programs.questions import Question
from llamachat.programs.wiring import ROWS_PRIORITY, connected
from llamachat.settings.ask import BatchSettings
from llamachat.settings.base import add_options, load
from llamachat.texts import documents

SHOWN_ERRORS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "input", type=Path, metavar="IN", help=_("a .csv, .tsv or .jsonl file, or OpenAI's batch file")
    )
    add_options(parser, BatchSettings)
    programs.add_params(parser)


def run(args: argparse.Namespace) -> int:
    settings = load(BatchSettings, vars(args))
    plan = programs.plan(settings, dict(args.param))
    table = rows.read(args.input, documents.read_text)
    if settings.sample:
        table = rows.Table(table.rows[: settings.sample], table.format, table.columns)
    if not table.rows:
        raise UsageError(_("{input} has no rows.").format(input=args.input))
    output = _output(settings, args.input, table)
    prompt = _prompt(plan.words.prompt, settings.prompt, table)
    tasks = prepare(table, plan.question, prompt)
    server = programs.server(settings)
    session = hashlib.sha256(str(output.resolve()).encode(errors="surrogateescape")).hexdigest()[:16]
    with connected(server, programs.tell_starting, session=session, priority=ROWS_PRIORITY) as (
        asker,
        said,
    ):
        long = settings.long or plan.template.long
        if long == "error":
            tasks = count(asker, tasks)
        _name_errors(tasks)
        parallel = settings.parallel or asker.lanes
        if settings.dry_run:
            return _dry_run(asker, tasks, parallel)
        settled = {"prompt": prompt, "model": said.model or settings.model, **_configuration(plan.question)}
        with BatchJournal(output, settled, restart=settings.restart) as journal:
            batch = Batch(asker, journal, parallel=parallel, long=long, gone=_tell_gone)
            try:
                _run(batch, tasks, journal, settings.retry_errors)
            except KeyboardInterrupt:
                _tell_stopped(tasks, journal)
                raise
            kept = [journal.answers[task.key] for task in tasks]
            rows.write(output, rows.format_of(output, table), table, kept, plan.question.shape.columns)
    failed = sum(record["error"] is not None for record in kept)
    console.say(
        _("{output}: {answered} of {total} rows answered.").format(
            output=output, answered=len(kept) - failed, total=len(kept)
        )
    )
    if failed:
        raise RowsFailed(
            _("{failed} of {total} rows have no whole answer.").format(failed=failed, total=len(kept)),
            _("--retry-errors asks them again."),
        )
    return ExitStatus.OK


def _output(settings: BatchSettings, given: Path, table: rows.Table) -> Path:
    if settings.output is None:
        if settings.dry_run:
            return given.with_name(given.stem + ".answers.jsonl")
        raise UsageError(_("Where should the answers go?"), _("-o OUT.csv or -o OUT.jsonl"))
    output = settings.output.expanduser()
    rows.format_of(output, table)
    if output.resolve() == given.resolve():
        raise UsageError(_("{output} is the input.").format(output=output), _("Name another file with -o."))
    if output.is_dir():
        raise UsageError(_("{output} is a folder.").format(output=output), _("Name a file in it with -o."))
    if not output.parent.is_dir():
        raise UsageError(_("There is no folder {folder}.").format(folder=output.parent))
    return output


def _prompt(template: str, given: str | None, table: rows.Table) -> str:
    """The prompt of a row: `--prompt`, put into the template if there is one; else the only column."""
    if table.format == "openai":
        return ""
    if given is None and template != "{input}":
        given = _only_column(table)
    if given is None:
        raise UsageError(_("What should be asked?"), _("--prompt 'Translate: {text}' or -t TEMPLATE"))
    return template.replace("{input}", given) if "{input}" in template else template


def _only_column(table: rows.Table) -> str:
    for name in ("text", "input", "prompt"):
        if name in table.columns:
            return f"{{{name}}}"
    if len(table.columns) == 1:
        return f"{{{table.columns[0]}}}"
    raise UsageError(
        _("Which of the columns {names} is the text?").format(names=", ".join(table.columns)),
        _("Name it: --prompt '{COLUMN}'"),
    )


def _configuration(question: Question) -> Mapping[str, Any]:
    return {
        "system": question.system,
        "schema": dict(question.shape.fields),
        "sampling": dict(question.sampling),
        "max_tokens": question.max_tokens,
    }


def _name_errors(tasks: Sequence[Task]) -> None:
    wrong = [task for task in tasks if task.error]
    for task in wrong[:SHOWN_ERRORS]:
        assert task.error
        console.report(_("row {name}: {message}").format(name=task.row.name, message=task.error.message))
    if len(wrong) > SHOWN_ERRORS:
        console.report(
            _("… and {count} more rows that can't be asked.").format(count=len(wrong) - SHOWN_ERRORS)
        )


def _dry_run(asker: Asker, tasks: Sequence[Task], parallel: int) -> int:
    good = [task for task in tasks if not task.error]
    if good:
        for message in good[0].messages:
            print(f"[{message['role']}]\n{message['content']}\n")  # noqa: T201
        # A handful represents all: counting every row of a large file takes long.
        sizes = sorted(asker.tokens(task.messages) for task in good[:: max(1, len(good) // 20)])
        print(  # noqa: T201
            _("about {median} tokens a prompt, at most {most} in those counted").format(
                median=sizes[len(sizes) // 2], most=sizes[-1]
            )
        )
    print(  # noqa: T201
        _("{count} rows to ask, {wrong} that can't be asked; {parallel} at once").format(
            count=len(good), wrong=len(tasks) - len(good), parallel=parallel
        )
    )
    return ExitStatus.OK


def _run(batch: Batch, tasks: Sequence[Task], kept: Kept, retry_errors: bool) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    done = _answered(tasks, kept)
    if done and sys.stderr.isatty():
        console.say(_("{done} of {total} rows are already answered.").format(done=done, total=len(tasks)))
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    with Progress(*columns, console=console.stderr(), disable=not sys.stderr.isatty()) as progress:
        row = progress.add_task("rows", total=len(tasks), completed=done, rate="")
        began = time.monotonic()
        for asked, _result in enumerate(batch.run(tasks, retry_errors=retry_errors), 1):
            rate = asked * 60 / (time.monotonic() - began)
            progress.update(row, advance=1, rate=_("{rate:.0f} rows/min").format(rate=rate))


def _answered(tasks: Sequence[Task], kept: Kept) -> int:
    return sum(task.key in kept.answers for task in tasks)


def _tell_stopped(tasks: Sequence[Task], kept: Kept) -> None:
    answered = _answered(tasks, kept)
    console.report(
        _(
            "Stopped: {answered} of {total} rows are answered; the same command goes on with the others."
        ).format(answered=answered, total=len(tasks))
    )


def _tell_gone(error: LlamachatError) -> None:
    console.report(
        _("{message} Waiting for it; Ctrl-C stops, and the same command resumes it.").format(
            message=error.message
        )
    )
