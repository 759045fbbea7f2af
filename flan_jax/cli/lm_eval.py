"""The command ``lm-eval`` with ``flan_jax`` among its models, for whoever has the harness's own command lines.

    python -m flan_jax.cli.lm_eval --model flan_jax --model_args path=runs/quickstart --tasks TASK --batch_size auto

The harness finds models that come with it only, so somebody has to register ours first. In Python that is
``flan_jax.cli.lm_eval.register()``, before ``lm_eval.simple_evaluate(model="flan_jax", model_args="path=…")``.
"""

import dataclasses
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flan_jax.errors import UserError

if TYPE_CHECKING:
    from flan_jax.experiments.config import RunConfig
    from flan_jax.harness.model_arguments import ModelArguments

_CONFIGURED = "lm_eval.config.evaluate_config"
"""The module of the harness that checks its command line and, before 0.5, finds its tasks."""
_FINDS_TASKS = "lm_eval.tasks.manager"
"""The module that does from 0.5 on, in the midst of the evaluation."""


def register() -> None:
    """Registers ``flan_jax`` with the harness of this process.

    Raises:
        UserError: no harness is installed, or an unsupported release.
    """
    from flan_jax.harness.registration import register

    register(find_config)


def find_config(arguments: "ModelArguments") -> "RunConfig":
    """Finds the configuration of the run or of the Hugging Face folder that ``path`` names.

    Raises:
        UserError: neither is there.
    """
    from flan_jax.cli import gin_config
    from flan_jax.cli.console import check_run_folder, is_huggingface, log_not_imported, modules_named
    from flan_jax.cli.run_places import run_folder
    from flan_jax.experiments.weights.pretrained import run_of_folder

    path = arguments.path
    if is_huggingface(path):
        if arguments.step is not None:
            raise UserError(f"{path!r} is no run, so it has no step {arguments.step}. Leave it out.")
        config = run_of_folder(path, adapter=arguments.adapter)
    else:
        if arguments.adapter:
            raise UserError(f"adapter is added to a model of Hugging Face's, and {path!r} is a run. Leave it out.")
        path = run_folder(path, step=arguments.step)
        check_run_folder(path)
        with modules_named(path):
            run = gin_config.load([], [f"run.model_dir={path!r}"], folder=path)
        log_not_imported(run)
        config = run.config
    return config.with_options(model=dataclasses.replace(config.model, dtype=arguments.dtype))


def call(arguments: Sequence[str]) -> int:
    """Runs the harness's command and returns its exit code.

    Args:
        arguments: as behind ``lm-eval``.

    Raises:
        UserError: what the harness refuses of them, and what ``register`` refuses.
    """
    register()
    from lm_eval.__main__ import cli_evaluate

    before = sys.argv
    sys.argv = ["lm-eval", *arguments]
    try:
        cli_evaluate()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except (ValueError, TypeError, OSError, KeyError) as error:
        if isinstance(error, UserError) or not _about_its_command_line(error):
            raise
        said = error.args[0] if isinstance(error, KeyError) else error  # a KeyError shows its text in quotes
        raise UserError(f"lm-evaluation-harness refuses its arguments: {said}") from error
    finally:
        sys.argv = before
    return 0


def _about_its_command_line(error: BaseException) -> bool:
    modules = [frame.f_globals.get("__name__") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return modules[-1] == _FINDS_TASKS if isinstance(error, KeyError) else _CONFIGURED in modules


if __name__ == "__main__":
    from flan_jax.cli.main import main

    sys.exit(main(["harness", "--", *sys.argv[1:]]))
