"""Learn mixture weights by DoReMi: reference, proxy and final run, one after another. Run again, the same command goes on."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flan_jax.cli.escapes import visible_line
from flan_jax.cli.gin_arguments import add_gin_arguments
from flan_jax.cli.paths import given_path
from flan_jax.errors import UserError

if TYPE_CHECKING:
    from flan_jax.cli.gin_config import GinRun

EXAMPLE = (
    "flan-jax doremi --gin_file base.gin --final_gin_file large.gin --gin.DoReMi.units=cluster --model_dir runs/doremi"
)
REFERENCE, PROXY, FINAL = "reference", "proxy", "final"
_METHOD = "DoReMi."
_WEIGHTS = ("WEIGHTS", "run.weights")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_gin_arguments(parser)
    parser.add_argument(
        "--model_dir",
        type=given_path,
        required=True,
        metavar="DIR",
        help=f"the folder of the three runs' folders: {REFERENCE}, {PROXY}, {FINAL}",
    )
    parser.add_argument(
        "--final_gin_file",
        type=given_path,
        action="append",
        default=[],
        metavar="FILE",
        help="a gin file of the final run, in the place of --gin_file; repeatable (default: the same as the others)",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Trains what is not trained yet of the three runs."""
    from flan_jax.cli.console import log, run_training
    from flan_jax.experiments.weighting.build_method import RESULT

    root = Path(arguments.model_dir)
    learned = root / PROXY / RESULT
    for stage in (REFERENCE, PROXY, FINAL):
        _run_of(arguments, stage, learned)  # what is wrong with a later one is said before the first is trained
    for stage in (REFERENCE, PROXY, FINAL):
        if _is_done(stage, root, learned, _run_of(arguments, stage, learned)):
            log(f"{stage}: done already")
            continue
        log(f"{stage}: {visible_line(root / stage)}")
        code = run_training(_run_of(arguments, stage, learned))
        if code:
            return code
    print(f"The weights that DoReMi learned: {visible_line(learned)}")
    return 0


def _is_done(stage: str, root: Path, learned: Path, run: "GinRun") -> bool:
    """Tells whether a stage needs no more training: a final run that was trained may still have to be measured."""
    from flan_jax.experiments.run_folder.run_files import CHECKPOINTS
    from flan_jax.train.step_folders import step_folders

    newest = next(iter(step_folders(root / stage / CHECKPOINTS)), None)
    return stage != FINAL and newest == run.config.steps and (stage != PROXY or learned.is_file())


def _run_of(arguments: argparse.Namespace, stage: str, learned: Path) -> "GinRun":
    """Resolves one of the three runs."""
    from flan_jax.cli import gin_config
    from flan_jax.launch.processes import check_one_process

    check_one_process()
    files, root = list(arguments.gin_file), Path(arguments.model_dir)
    if not files:
        raise UserError("No --gin_file given. Name those of the reference run, such as --gin_file base.gin.")
    bindings = _own(arguments.gin_bindings, stage)
    bindings.append(f"MODEL_DIR={root / stage}")
    if stage == PROXY:
        bindings += ["run.weighting=@DoReMi()", f"DoReMi.reference={root / REFERENCE}"]
    if stage == FINAL:
        files = [*(arguments.final_gin_file or files), *([str(learned)] if learned.is_file() else [])]
    paths = [path for path in arguments.gin_search_paths.split(",") if path] + gin_config.environment_search_paths()
    run = gin_config.load(files, bindings, paths)
    if stage == REFERENCE and run.config.weighting is not None:
        raise UserError(
            f"run.weighting is @{type(run.config.weighting).__name__}() in the files, and the three runs of DoReMi say it "
            "themselves: the proxy has it. Leave it out."
        )
    return run


def _own(bindings: Sequence[str], stage: str) -> list[str]:
    """Returns the bindings that a stage reads: the method's are the proxy's, and the final run's weights are learned."""
    named = [(binding.partition("=")[0].strip(), binding) for binding in bindings]
    for name, _ in named:
        if name in ("MODEL_DIR", "run.model_dir", "run.weighting", f"{_METHOD}reference"):
            raise UserError(f"--gin.{name} is what `flan-jax doremi` gives each of its runs itself. Leave it out.")
    return [
        binding
        for name, binding in named
        if (stage == PROXY or not name.startswith(_METHOD)) and (stage != FINAL or name not in _WEIGHTS)
    ]
