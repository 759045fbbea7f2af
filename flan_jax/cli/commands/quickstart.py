"""The whole job on the embedded world: prepare, measure, train a small T5, measure again, write the report."""

import argparse

from flan_jax.cli.paths import given_path

EXAMPLE = "flan-jax quickstart --model_dir runs/quickstart"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument(
        "--model_dir", type=given_path, default="runs/quickstart", help="the run's folder (default runs/quickstart)"
    )
    parser.add_argument("--steps", type=int, default=None, help="training steps; default: the recipe's own")
    parser.set_defaults(gin_file=[], gin_search_paths="")


def execute(arguments: argparse.Namespace) -> int:
    """Runs ``gin/runs/quickstart.gin``."""
    from flan_jax.cli.console import run_training
    from flan_jax.cli.gin_arguments import load_gin

    extra = [f"MODEL_DIR={arguments.model_dir!r}"]
    if arguments.steps is not None:
        # The recipe's curriculum and warm-up shrink with the run: as they stand they might not even fit.
        extra.append(f"TRAIN_STEPS={arguments.steps}")
        extra.append(f"run.curriculum_steps={arguments.steps // 3}")
        extra.append(f"OptimizerConfig.warmup_steps={min(50, arguments.steps // 10)}")
    run = load_gin(arguments, default_files=("runs/quickstart.gin",), extra=tuple(extra))
    return run_training(run)
