"""What several commands print: progress of preparing, the table of results, how to continue."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from flan_jax.errors import UserError

if TYPE_CHECKING:
    from flan_jax.cli.gin_config import GinRun
    from flan_jax.data.prepare import PreparedSplit, PrepareReport
    from flan_jax.data.prepare import Progress as PrepareProgress
    from flan_jax.eval.runner import Progress as EvalProgress

STOPPED = 75


def prepare_progress(*, quiet: bool = False) -> "PrepareProgress | None":
    """A line a prepared split: rewritten in place on a terminal, every tenth of the way elsewhere."""
    if quiet:
        return None
    terminal = sys.stderr.isatty()

    def show(done: int, total: int, what: "PreparedSplit") -> None:
        line = f"prepare {done}/{total} {what.task} {what.split}: {what.examples:,} examples{' (there already)' if what.skipped else ''}"
        if terminal:
            print(f"\r\x1b[2K{line[:100]}", end="\n" if done == total else "", file=sys.stderr, flush=True)
        elif done == total or done % max(1, total // 10) == 0:
            print(line, file=sys.stderr, flush=True)

    return show


def report_preparation(report: "PrepareReport") -> None:
    """Says what was written, what was there, and what was cut."""
    print(
        f"{report.written} splits prepared, {report.skipped} there already: {report.examples:,} examples, "
        f"{report.tokens:,} tokens in {report.seconds:.1f} s."
    )
    if report.truncated_inputs or report.truncated_targets:
        print(
            f"Cut to length: {report.truncated_inputs:,} inputs and {report.truncated_targets:,} targets "
            f"({report.truncated_inputs + report.truncated_targets:,} of {2 * report.examples:,} sides)."
        )
        worst = sorted(report.splits, key=lambda split: -(split.truncated_inputs + split.truncated_targets))[:5]
        for split in worst:
            cut = split.truncated_inputs + split.truncated_targets
            if cut:
                print(
                    f"  {split.task} {split.split}: {split.truncated_inputs:,} inputs, {split.truncated_targets:,} targets"
                )


def show_results(model_dir: str) -> None:
    """Prints the table of the newest evaluation beside the first one, and where the rest lies."""
    from flan_jax.report.tables import results_table

    table = results_table(Path(model_dir))
    if table:
        print(table)
    print(f"\nThe run's folder: {model_dir}")
    page = Path(model_dir) / "report.html"
    if page.is_file():
        print(f"Its page:         {page}")


def eval_progress() -> "EvalProgress":
    """A bar over the evaluated examples on a terminal, a line every tenth of the way elsewhere."""
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


def run_training(run: "GinRun") -> int:
    """Trains, shows the results, and returns the exit code."""
    from flan_jax.experiments.train import train

    result = train(
        run.config,
        operative=run.operative,
        prepare_progress=prepare_progress(),
        eval_progress=eval_progress(),
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    if result.stopped:
        print(
            f"stopped after step {result.step}; everything is saved: run the same command again to continue",
            file=sys.stderr,
        )
        return STOPPED
    show_results(run.config.model_dir)
    return 0


def run_config_file(model_dir: str) -> str:
    """The configuration that a run saved.

    Raises:
        UserError: the folder is not a run's.
    """
    folder = Path(model_dir)
    if not folder.is_dir():
        raise UserError(f"There is no run folder {model_dir!r}. Give the MODEL_DIR of a run.")
    path = folder / "config.gin"
    if not path.is_file():
        raise UserError(
            f"{model_dir!r} holds no config.gin, so it is not the folder of a run. Give the MODEL_DIR of a run."
        )
    return str(path)
