"""The mixture of a run: found by its name or path, with other templates or a part held out, and its suites."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from flan_jax.data.file_readers.suffixes import SUFFIXES, suffix_of
from flan_jax.data.instructions.mixture import is_path, mixture_of_path
from flan_jax.data.instructions.reading_options import DEFAULT_READING, ReadingOptions
from flan_jax.data.seqio_bridge.tasks import registered_names
from flan_jax.data.sources import base as sources
from flan_jax.data.sources import published
from flan_jax.data.templates.template_set import load_template_set, with_templates
from flan_jax.errors import UserError, did_you_mean, unknown
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.options import EvalConfig
from flan_jax.mixing.asked_suites import select_tasks, with_prompts
from flan_jax.mixing.config import MixingConfig
from flan_jax.mixing.holdout import hold_out_of
from flan_jax.mixing.mixture import MIXTURES, Mixture, Suite, get_mixture
from flan_jax.mixing.training import chosen_training
from flan_jax.tasks.catalog import TASKS
from flan_jax.tasks.modes import PromptMode

HUB = "hf:"
"""Begins the name of a data set of the Hugging Face hub, where a mixture is asked for."""
VALIDATION_SPLIT = "validation"
HELD_OUT = "held_out"
"""Under this name a mixture declares the clusters that decide in the end: no run is chosen by them."""
_AS_DECLARED = MixingConfig()


def resolve_mixture(name: str, reading: ReadingOptions = DEFAULT_READING) -> Mixture:
    """Finds the mixture or task of that name, with the shipped collections registered.

    The path of instruction data, or ``hf:OWNER/NAME`` for such data on the hub, is a mixture of all
    tasks in it. What else is not ours is looked for in seqio's registries, if a module that was
    imported has loaded seqio.

    Args:
        name: as above.
        reading: how instruction data is read.

    Raises:
        UserError: no such name; the message suggests near ones; or a reading of what is no instruction data.
    """
    import mixtures  # noqa: F401  (registers what ships; reads no data)

    theirs = registered_names()
    registered = name in MIXTURES or name in TASKS
    if reading.as_flags and (registered or name in theirs):
        raise UserError(
            f"{reading.as_flags} says how the instruction data of a path is read, and {name!r} is the name of a mixture or task. "
            "Leave it out, or name a path."
        )
    if registered:
        return get_mixture(name)
    if name in theirs:
        from flan_jax.data.seqio_bridge.mixtures import seqio_mixture  # loads TensorFlow

        return seqio_mixture(name)
    if name.startswith(HUB):
        return mixture_of_path(name.removeprefix(HUB), reading=reading)
    if is_path(name) or (name and sources.resolve(name).exists()):
        return mixture_of_path(name, reading=reading)
    if "/" in name or Path(name).is_file() or suffix_of(Path(name)) in SUFFIXES:
        raise sources.missing_data("The instruction data", sources.resolve(name))
    raise _unknown_name(name, {*MIXTURES, *TASKS, *theirs})


def _unknown_name(name: str, known: set[str]) -> UserError:
    # What tables print is a task's name with its mode; what papers name is often a cluster.
    for mode in PromptMode:
        task = name.removesuffix(f"_{mode}")
        if task != name and task in TASKS:
            return UserError(
                f"Unknown mixture or task {name!r}: it is task {task!r} in the mode {mode.value!r}. "
                f"`flan-jax inspect {task} --mode {mode}` shows it; a mixture that trains on it is declared in a module."
            )
    if any(TASKS.get(task).cluster == name for task in TASKS):
        return UserError(
            f"{name!r} is a cluster, not a mixture or task. `flan-jax tasks --cluster {name}` lists its tasks."
        )
    return unknown(
        "mixture or task",
        name,
        known,
        remedy="`flan-jax tasks` lists tasks and mixtures; a module that registers more is named with --module_import.",
    )


def check_folders(data_dir: str = "", source_dir: str = "") -> None:
    """Refuses folders of data that are named and not there; ``""`` names none.

    Raises:
        UserError: one is missing, or is a file.
    """
    for name, folder in (("DATA_DIR", data_dir), ("SOURCE_DIR", source_dir)):
        if folder and not Path(folder).expanduser().is_dir():
            raise UserError(
                f"{name} is {folder!r}, which is not a folder. Name the folder that holds the data, or none."
            )


def set_folders(data_dir: str = "", source_dir: str = "") -> None:
    """Chooses where this process looks for files and for local copies; ``""`` changes nothing."""
    if data_dir:
        sources.set_data_dir(data_dir)
    if source_dir:
        published.set_source_dir(source_dir)


def mixture_outline(name: str) -> Mixture:
    """As ``resolve_mixture``; where its files are not on this machine, by names and published sizes alone, if it can be.

    Raises:
        UserError: as ``resolve_mixture``.
    """
    outline = _outline_of(name)
    return outline() if outline else resolve_mixture(name)


def has_outline(name: str) -> bool:
    """Tells whether the rates of that mixture can be told without its files."""
    return _outline_of(name) is not None


def _outline_of(name: str) -> Callable[[], Mixture] | None:
    import mixtures  # noqa: F401  (registers what ships; reads no data)

    factory = MIXTURES.get(name) if name in MIXTURES else None
    if isinstance(factory, sources.FromDataFolder) and factory.outline:
        return functools.partial(factory, **dict(factory.outline))
    return None


def select_mixture(
    name: str,
    *,
    hold_out: Sequence[str] = (),
    templates: str = "",
    reading: ReadingOptions = DEFAULT_READING,
    outlined: bool = False,
    mixing: MixingConfig = _AS_DECLARED,
    seed: int = 0,
) -> Mixture:
    """Finds the mixture or task of that name, with other templates, a part held out or other training, where asked for.

    Args:
        name: as for ``resolve_mixture``.
        hold_out: clusters or tasks that are measured instead of trained on, with FLAN's exclusions; a
            cluster may have the name of FLAN's paper.
        templates: a file of templates that take the place of the tasks' own.
        reading: as for ``resolve_mixture``.
        outlined: only its rates are asked for; see ``mixture_outline``.
        mixing: what of it is trained on, in which prompts, and how much of it.
        seed: of the run, which chooses templates.

    Raises:
        UserError: as ``resolve_mixture``, ``hold_out_of`` and ``chosen_training``; a file that holds no templates.
    """
    from mixtures.rules import RULES, named

    mixture = mixture_outline(name) if outlined and not reading.as_flags else resolve_mixture(name, reading)
    if templates:
        mixture = with_templates(mixture, load_template_set(templates))
    if hold_out:
        mixture = hold_out_of(mixture, named(mixture, hold_out), RULES)
    return chosen_training(mixture, mixing, seed)


def run_mixture(config: RunConfig) -> Mixture:
    """Finds the mixture of a run, its suites asked as the run says, and chooses its folders for this process."""
    set_folders(config.data.data_dir, config.data.source_dir)
    mixture = select_mixture(
        config.mixture,
        hold_out=config.data.hold_out,
        templates=config.data.templates,
        reading=config.data.reading,
        mixing=config.mixing,
        seed=config.seed,
    )
    asked = config.evaluation
    if not _asks_otherwise(asked):
        return mixture
    suites = select_tasks(select_suites(mixture, asked.suites), asked.tasks)
    prompted = with_prompts(suites, shots=asked.shots, templates=asked.templates, repeats=asked.repeats)
    return dataclasses.replace(mixture, suites=prompted)


def run_suites(mixture: Mixture, evaluation: EvalConfig) -> tuple[Suite, ...]:
    """Selects what a run measures of its mixture, as ``run_mixture`` returned it."""
    return mixture.suites if _asks_otherwise(evaluation) else select_suites(mixture, evaluation.suites)


def _asks_otherwise(evaluation: EvalConfig) -> bool:
    """Tells whether a run measures its suites otherwise than its mixture declares them."""
    return bool(evaluation.tasks or evaluation.templates or evaluation.shots is not None or not evaluation.repeats.once)


def select_suites(mixture: Mixture, names: Sequence[str] | None) -> tuple[Suite, ...]:
    """Selects the suites of ``mixture`` with these names; all of them for ``None``."""
    by_name = {suite.name: suite for suite in mixture.suites}
    for name in names or ():
        if name not in by_name:
            raise unknown(f"suite of mixture {mixture.name!r}", name, by_name)
    return mixture.suites if names is None else tuple(by_name[name] for name in names)


def validation_suite(config: RunConfig, mixture: Mixture) -> Suite | None:
    """Returns the tasks whose loss is measured in the loop, with their split; ``None`` where none is.

    Raises:
        UserError: there is no such suite, it is the final test itself, or no task has a validation split.
    """
    asked = config.validation
    if not asked.period:
        return None
    if not asked.suite:
        tasks = tuple(task for task in mixture.drawn_tasks if VALIDATION_SPLIT in task.splits)
        if not tasks:
            raise UserError(
                f"No task of mixture {mixture.name!r} has a split {VALIDATION_SPLIT!r} to measure the loss on. Name a suite "
                "(ValidationConfig.suite), or leave ValidationConfig.period out."
            )
        return Suite("validation", tasks, split=VALIDATION_SPLIT)
    found = {suite.name: suite for suite in mixture.suites}
    if asked.suite not in found:
        raise UserError(
            f"Mixture {mixture.name!r} has no suite {asked.suite!r} (ValidationConfig.suite)."
            + (did_you_mean(asked.suite, found) or f" It has: {', '.join(found) or 'none'}.")
        )
    suite, others = found[asked.suite], [each for each in mixture.suites if each.held_out and each.name != asked.suite]
    shared = sorted({cluster for each in others for cluster in each.clusters} & set(suite.clusters))
    if asked.chooses and suite.held_out and (suite.name == HELD_OUT or not others or shared):
        why = (
            f"it shares {', '.join(shared)} with another suite"
            if shared
            else "it is what the run is judged by in the end"
        )
        raise UserError(
            f"A run cannot be chosen by the suite {suite.name!r} (ValidationConfig.suite): {why}. Choose by clusters that no final "
            "test has, or by the validation splits of what is trained on (leave ValidationConfig.suite out)."
        )
    return suite


def log_dropped(mixture: Mixture, log: Callable[[str], None]) -> None:
    """Says in a sentence what is neither trained on nor measured, by reason; nothing where there is nothing."""
    reasons: dict[str, list[str]] = {}
    for found in mixture.dropped:
        reasons.setdefault(found.reason, []).append(found.task)
    parts = [f"{_few(names)} ({reason})" for reason, names in reasons.items()]
    count = len(mixture.dropped)
    verb = "task of the collection is" if count == 1 else "tasks of the collection are"
    if parts:
        log(f"{count} {verb} neither trained on nor measured: {'; '.join(parts)}")


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{more}"
