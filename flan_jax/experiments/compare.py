"""Measures several models on the same prompts, so that they can be compared example by example."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from flan_jax.data.prepare.prepare import PrepareProgress
from flan_jax.errors import UserError
from flan_jax.eval.examples import EvalTask
from flan_jax.eval.paired_runs import Measured
from flan_jax.eval.provenance import params_digest
from flan_jax.eval.task_answers import EvalProgress
from flan_jax.experiments import run_dir
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.data import RunData, prepare_run, run_vocabulary, store_path
from flan_jax.experiments.evaluate import eval_settings, eval_suites, make_predictor
from flan_jax.experiments.evaluation.measuring import (
    log_measured_again,
    measure_suites,
    outdated_suites,
    save_results,
)
from flan_jax.experiments.generate import answering_vocabulary
from flan_jax.experiments.mixture import check_folders, run_mixture, run_suites
from flan_jax.experiments.weights.initial import check_step, load_weights
from flan_jax.store.store import TokenStore


@dataclasses.dataclass(frozen=True)
class ComparedModel:
    """A model that is compared.

    Attributes:
        name: what tables call it, and the folder of its results below the output folder.
        config: its run, or what ``run_of_folder`` makes of a published model.
        step: of the checkpoint; ``None`` for the newest, 0 for what the run began with.
    """

    name: str
    config: RunConfig
    step: int | None = None


def asked_as(asking: RunConfig, model: RunConfig) -> RunConfig:
    """Returns the model's configuration with what is asked of another run: weights, adapters and vocabulary stay its own."""
    vocabulary = model.data.vocabulary or answering_vocabulary(model).name
    # A relative path is below the data folder, and that of the other run is another.
    place = Path(model.data.data_dir).expanduser() / vocabulary
    if place.exists():
        vocabulary = str(place.absolute())
    return dataclasses.replace(
        model,
        mixture=asking.mixture,
        seed=asking.seed,
        data=dataclasses.replace(asking.data, vocabulary=vocabulary, store=store_path(asking)),
        tokenize=asking.tokenize,
        evaluation=asking.evaluation,
    )


def check_steps(models: Sequence[ComparedModel]) -> None:
    """Checks that every model has the checkpoint that is asked for, before the first of them is measured.

    Raises:
        UserError: one has not.
    """
    for model in models:
        check_step(model.config, model.step)


def measure_models(
    asking: RunConfig,
    models: Sequence[ComparedModel],
    output_dir: str,
    *,
    prepare_progress: PrepareProgress | None = None,
    progress: EvalProgress | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> dict[str, tuple[Measured, tuple[str, ...]]]:
    """Measures every model on the suites of one run and writes ``OUTPUT_DIR/NAME/eval/STEP``.

    Prompts are made once for each vocabulary, of the asking run's mixture, templates, lengths and seed. What an earlier
    call measured with the same weights and settings is not measured again.

    Args:
        asking: the run whose suites are measured.
        models: at least two, of different names.
        output_dir: where results go, a folder a model.
        prepare_progress: told of prepared splits.
        progress: told after every batch.
        log: told what is measured.

    Returns:
        Model → the place of its results, and the suites measured there.

    Raises:
        UserError: no suites; weights that are not there; a model that cannot read the prompts.
    """
    check_steps(models)
    check_folders(asking.data.data_dir, asking.data.source_dir)
    mixture = run_mixture(asking)
    suites = run_suites(mixture, asking.evaluation)
    if not suites:
        raise UserError(f"Mixture {mixture.name!r} has no suites to measure. Name a mixture that has.")
    root = Path(output_dir)
    run_dir.check_writable(root, "Name another for the results (--output_dir).")
    asked: dict[str, dict[str, list[EvalTask]]] = {}
    found = {}
    for model in models:
        config = asked_as(asking, model.config)
        vocabulary = run_vocabulary(config, mixture)
        data = RunData(mixture, vocabulary, TokenStore(store_path(asking)), (), {}, {}, suites)
        print_ = vocabulary.fingerprint()
        if print_ not in asked:
            if not config.data.use_cached_tasks:
                prepare_run(config, training=False, progress=prepare_progress)
            asked[print_] = eval_suites(data, config, overlap=False)
        step = _measure(model, config, data, asked[print_], root / model.name, progress, log)
        found[model.name] = (Measured(root / model.name, step), tuple(asked[print_]))
    return found


def _measure(
    model: ComparedModel,
    config: RunConfig,
    data: RunData,
    suites: Mapping[str, Sequence[EvalTask]],
    folder: Path,
    progress: EvalProgress | None,
    log: Callable[[str], None],
) -> int:
    """Measures one model, unless that was done, and returns the step of its results."""
    weights = load_weights(model.config, step=model.step)
    settings, digest = eval_settings(config), params_digest(weights.params)
    outdated = outdated_suites(folder, weights.step, suites, digest, settings)
    if not outdated:
        log(f"{model.name}: measured before, with the same weights and settings")
        return weights.step
    log(f"{model.name}: measuring {', '.join(outdated)} at step {weights.step}")
    log_measured_again(folder, weights.step, outdated, digest, log)
    run_dir.create(folder)
    results = measure_suites(
        make_predictor(weights.graphdef, weights.params, data, config),
        {name: tasks for name, tasks in suites.items() if name in outdated},
        folder,
        step=weights.step,
        weights=digest,
        settings=settings,
        seed=config.seed,
        option_score=config.evaluation.option_score,
        progress=progress,
        log=log,
    )
    save_results(folder, results)
    return weights.step
