"""The console of several commands: progress of preparing, the table of results, how to continue."""

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flan_jax import signals
from flan_jax.cli.escapes import visible, visible_line
from flan_jax.errors import UserError
from flan_jax.tasks.user_modules import imported_modules

if TYPE_CHECKING:
    from flan_jax.cli.gin_config import GinRun
    from flan_jax.data.prepare.prepare import PreparedSplit, PrepareReport
    from flan_jax.eval.runner import EvalProgress

_LINE_EVERY_S = 5.0
_REASONS = 5


def prepare_progress(*, quiet: bool = False) -> "_PrepareBar | _PrepareLines | None":
    """Makes a bar on a terminal; elsewhere a plain line every few seconds of long work."""
    if quiet:
        return None
    return _PrepareBar() if sys.stderr.isatty() else _PrepareLines()


class _PrepareSpeed:
    """Examples and tokens a second, over what is tokenised now."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._examples = self._tokens = 0

    def add(self, what: "PreparedSplit") -> str:
        """Counts one more split; the speed so far."""
        if not what.skipped:
            self._examples += what.examples
            self._tokens += what.input_tokens + what.target_tokens
        seconds = max(time.monotonic() - self._begun, 1e-3)
        return f"{self._examples / seconds:,.0f} examples/s, {self._tokens / seconds:,.0f} tokens/s"


class _PrepareBar:
    def __init__(self) -> None:
        self._speed = _PrepareSpeed()
        self._bar: Any = None

    def __call__(self, done: int, total: int, what: "PreparedSplit") -> None:
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc="prepare", unit=" splits", file=sys.stderr, dynamic_ncols=True)
        self._bar.set_postfix_str(self._speed.add(what), refresh=False)
        self._bar.update(done - self._bar.n)
        if done == total:
            self.close()

    def close(self) -> None:
        """Leaves the bar as it is and goes to the next line."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class _PrepareLines:
    def __init__(self) -> None:
        self._speed = _PrepareSpeed()
        self._said = time.monotonic()

    def __call__(self, done: int, total: int, what: "PreparedSplit") -> None:
        speed = self._speed.add(what)
        if done < total and time.monotonic() - self._said >= _LINE_EVERY_S:
            print(f"prepare {done}/{total} splits, {speed}", file=sys.stderr, flush=True)
            self._said = time.monotonic()

    def close(self) -> None:
        """Does nothing: nothing is left open."""


def report_preparation(report: "PrepareReport") -> None:
    """Says what was written, what was there, what was cut or left out, and what the data hold that cannot be learned."""
    from flan_jax.data.prepare.notices import notices

    damaged = f" ({report.damaged} of them in place of damaged ones)" if report.damaged else ""
    print(
        f"{report.written} split{'' if report.written == 1 else 's'} prepared{damaged}, {report.skipped} there already: {report.examples:,} examples, "
        f"{report.tokens:,} tokens in {report.seconds:.1f} s."
    )
    if report.truncated_inputs or report.truncated_targets:
        print(
            f"Cut to length: {report.truncated_inputs:,} inputs and {report.truncated_targets:,} targets "
            f"({report.truncated_inputs + report.truncated_targets:,} of {2 * report.examples:,} sides)."
        )
        _worst(report, "truncated_inputs", "truncated_targets")
    for line in notices(report.splits):
        print(line)
    if report.dropped:
        print(f"Left out because a side is too long: {report.dropped:,} records.")
        _worst(report, "dropped")
    if report.filtered:
        print(f"Left out because they are no examples of their task: {report.filtered:,} records.")
        _worst(report, "filtered")
    if by_reply := sum(split.by_reply for split in report.splits):
        print(
            f"An example for every reply, as the chat template writes the beginning of a conversation otherwise once more "
            f"turns follow: {by_reply:,} conversations."
        )
        _worst(report, "by_reply")
    if replies := sum(split.replies for split in report.splits):
        ends = sum(split.turn_ends for split in report.splits)
        every = "all of them" if ends == replies else f"{ends:,} of them"
        print(f"Assistant turns in conversations: {replies:,}, {every} learned with a token that ends the turn.")
    if report.unreadable:
        print(f"Left out because they cannot be read or rendered: {report.unreadable:,} records.")
        _worst(report, "unreadable")
        reasons = [reason for split in report.splits for reason in split.messages][:_REASONS]
        print(f"The first {len(reasons)} of them:" if len(reasons) > 1 else "The reason:")
        for reason in reasons:
            print(f"  {visible_line(reason)}")


def _worst(report: "PrepareReport", *counts: str) -> None:
    """The splits with the largest counts, five at most."""
    found = [(split, [getattr(split, count) for count in counts]) for split in report.splits]
    for split, own in sorted(found, key=lambda pair: -sum(pair[1]))[:5]:
        if any(own):
            named = [f"{n:,} {count.removeprefix('truncated_')}" for n, count in zip(own, counts, strict=True)]
            print(
                f"  {visible_line(split.task)} {split.split}: {', '.join(named) if len(counts) > 1 else f'{own[0]:,}'}"
            )


def show_results(model_dir: str, address: str = "") -> None:
    """Prints the table of the newest evaluation beside the first one, and where the rest lies.

    Args:
        model_dir: the run's folder.
        address: of the run, without a password, where that folder is its staging folder.
    """
    from flan_jax.report.tables import results_table

    table = results_table(Path(model_dir))
    if table:
        print(visible(table))
    place = address or model_dir
    print(f"\nThe run's {'address' if address else 'folder'}: {visible_line(place)}")
    if (Path(model_dir) / "report.html").is_file():
        print(f"Its page:         {visible_line(f'{place}/report.html')}")


def eval_progress() -> "EvalProgress":
    """Makes a bar over the evaluated examples on a terminal, a line every tenth of the way elsewhere."""
    terminal = sys.stderr.isatty()
    shown = -1

    def show(done: int, total: int) -> None:
        nonlocal shown
        tenth = 10 * done // total
        if terminal:
            bar = "█" * (30 * done // total)
            print(
                f"\r\x1b[2Kevaluate |{bar:<30}| {done:,}/{total:,}", end="\n" if done == total else "", file=sys.stderr
            )
        elif tenth != shown:
            print(f"evaluate {done:,}/{total:,} examples", file=sys.stderr)
        shown = tenth
        sys.stderr.flush()

    return show


def log(line: str) -> None:
    """Prints a sentence for people on standard error."""
    print(visible(line), file=sys.stderr, flush=True)


def _unheard(line: str) -> None:
    """Takes what another process says as well."""


def run_training(run: "GinRun", *, quiet: bool = False) -> int:
    """Trains, shows the results unless ``quiet``, and returns the exit code."""
    from flan_jax.cli.sampling_table import sampling_table
    from flan_jax.experiments.run_folder.address_files import shown_address
    from flan_jax.experiments.run_folder.run_files import CHECKPOINTS
    from flan_jax.experiments.train import train
    from flan_jax.train.tiers.tiered_checkpointer import newest_saved

    checkpoints = Path(run.config.model_dir) / CHECKPOINTS
    with signals.continues_from(lambda: newest_saved(checkpoints)):
        try:
            result = train(
                run.config,
                operative=run.operative,
                prepare_progress=prepare_progress(quiet=quiet),
                eval_progress=None if quiet else eval_progress(),
                log=_unheard if quiet else log,
            )
            signum = result.signum
        except signals.Interrupted as stop:
            signum = stop.signum
        if signum:
            words, code = signals.last_words(signum, "nothing was saved yet; the same command begins anew")
            log(words)
            return code
    if quiet:
        return 0
    print("\nWhat was drawn, against what was asked for:")
    print(visible(sampling_table(result.sampling_stats)))
    show_results(run.config.model_dir, run.address and shown_address(run.address))
    return 0


def is_huggingface(model_dir: str) -> bool:
    """Tells whether a folder holds a model of Hugging Face's and no run; ``hf:OWNER/NAME`` always does."""
    folder = Path(model_dir)
    return model_dir.startswith("hf:") or ((folder / "config.json").is_file() and not (folder / "config.gin").is_file())


def log_not_imported(run: "GinRun") -> None:
    """Names the modules that a run's folder would have imported: it is data, so that is the user's to ask for."""
    names = [name for name in run.not_imported if name not in imported_modules()]
    if names:
        log(
            f"The run's config.gin asks to import {', '.join(names)}, which is not done: a run's folder is data. Where the "
            f"run needs it, name it: {' '.join(f'--module_import {name}' for name in names)}."
        )


@contextlib.contextmanager
def modules_named(model_dir: str) -> Iterator[None]:
    """Answers, around the use of a run's folder, a name that is not known with the modules that the run imported.

    Raises:
        UserError: as what is inside, with the remedy.
    """
    try:
        yield
    except UserError as error:
        from flan_jax.experiments.run_folder.run_files import read_manifest

        found = (read_manifest(model_dir) or {}).get("modules") if model_dir else None
        missing = [name for name in found or () if isinstance(name, str) and name not in imported_modules()]
        if not missing or not str(error).startswith("Unknown"):
            raise
        raise UserError(
            f"{error} The run imported: {' '.join(f'--module_import {name}' for name in missing)}."
        ) from None


def check_run_folder(model_dir: str) -> None:
    """Refuses what is not the folder of a run, with its configuration.

    Raises:
        UserError: the folder is not a run's.
    """
    folder = Path(model_dir)
    if not folder.is_dir():
        hub = (
            f" A model of the hub is hf:{model_dir}." if model_dir.count("/") == 1 and model_dir[0] not in "./~" else ""
        )
        raise UserError(f"There is no run folder {model_dir!r}. Give the MODEL_DIR of a run.{hub}")
    path = folder / "config.gin"
    if is_huggingface(model_dir):
        raise UserError(
            f"{model_dir!r} is a model of Hugging Face's and no run. Measure it with --gin_file models/huggingface.gin "
            f"--gin_file runs/eval.gin --gin.CHECKPOINT_PATH={model_dir} and what these ask for."
        )
    if not path.is_file():
        raise UserError(
            f"{model_dir!r} holds no config.gin, so it is not the folder of a run. Give the MODEL_DIR of a run."
        )
