"""T0, T0+ and T0++ (Sanh et al. 2022) over a user's own copy of promptsource.

``DATA_DIR/promptsource/templates`` holds the templates; the records are the hub's, or those of a
local folder. A task is a data set or subset with all of its templates, and its rate is the sum of
the rates that T0 gives to its prompts. Nothing is read before a mixture is asked for by name.
"""

import dataclasses
import re
from pathlib import Path
from typing import Literal

from flan_jax.data.collections.t0_datasets import ANLI_ROUNDS, LEFT_OUT, T0_SETS, Role, T0Set, hub_source, task_name
from flan_jax.data.sources.base import FromDataFolder
from flan_jax.data.templates.promptsource import FOLDER, NO_LABEL, TRUNCATE, promptsource_task
from flan_jax.errors import UserError
from flan_jax.mixing.mixture import Entry, Mixture, Suite, register_mixture
from flan_jax.tasks.spec import Prompted, PromptMode, TaskSpec

MAX_EXAMPLES = 500_000
"""A data set of more examples counts as so many, divided among its prompts; a smaller one counts whole for each."""

Prompts = Literal["all", "original", "one"]
"""The training prompts of a data set: all, those of its original task, or one of these (the paper's p = 1)."""

MODELS: dict[str, tuple[Role, ...]] = {
    "t0": ("base",),
    "t0+": ("base", "gpt"),
    "t0++": ("base", "gpt", "superglue"),
}
"""Model → the roles of the data sets that it is trained on."""


def t0_mixture(
    name: str = "t0_train",
    *,
    model: str = "t0",
    prompts: Prompts = "all",
    folder: str | Path = FOLDER,
    mode: PromptMode = PromptMode.ZS_NOOPT,
    seed: int = 0,
    truncate: int = TRUNCATE,
    no_label: str = NO_LABEL,
    held_in: bool = False,
) -> Mixture:
    """What T0, T0+ or T0++ is trained on and measured by.

    Args:
        name: the mixture's name.
        model: ``t0``, ``t0+`` or ``t0++``.
        prompts: which templates are trained on.
        folder: promptsource's folder ``templates``; a relative one starts at the data folder.
        mode: a prompt is the template's own words in ``zs_noopt``; ``zs_opt`` lists the options
            behind a prompt that does not.
        seed: changes what templates draw by chance.
        truncate: how much of one value a prompt shows, in characters; 0 for all.
        no_label: the target of a training record without a label; ``""`` leaves it out.
        held_in: measure the training tasks on their validation splits too, where they have one.

    Returns:
        Entries: a task a data set, at T0's rates. Suites: one for each family of T0's evaluation,
        held out unless the model is trained on a data set of that family.

    Raises:
        UserError: an unknown model, or a data set without templates in ``folder``.
    """
    if model not in MODELS:
        raise UserError(f"Mixture {name!r}: model={model!r} must be one of {', '.join(MODELS)}.")
    reader = _Reader(folder, seed, truncate)
    entries = []
    for data in T0_SETS.values():
        if data.role in MODELS[model]:
            # A record without a label can be learnt from, as T0 does, but not scored.
            spec = reader.spec(data, "" if data.evaluated else no_label)
            drawn = _drawn(spec, prompts)
            if drawn:
                whole = len(drawn) == len(spec.templates)
                task = Prompted(spec, mode) if whole else Prompted(spec, mode, drawn, variant=prompts)
                entries.append(Entry(task, rate=_cap(data, spec) * len(drawn)))
    suites = _suites(reader.scored(mode), {task.cluster for entry in entries for task in entry.tasks})
    if held_in:
        tasks = tuple(task for entry in entries for task in entry.tasks if "validation" in task.splits)
        suites = (*suites, Suite("held_in", tasks, split="validation"))
    return Mixture(name, tuple(entries), suites=suites)


def t0_evaluation(
    name: str = "t0_eval",
    *,
    folder: str | Path = FOLDER,
    mode: PromptMode = PromptMode.ZS_NOOPT,
    seed: int = 0,
    truncate: int = TRUNCATE,
) -> Mixture:
    """What T0 is measured by, for a checkpoint that was trained on something else.

    Args:
        name: the mixture's name.
        folder: as for ``t0_mixture``.
        mode: as for ``t0_mixture``.
        seed: as for ``t0_mixture``.
        truncate: as for ``t0_mixture``.

    Returns:
        A suite for each family; every entry has the rate 0, so that nothing is trained on.

    Raises:
        UserError: a data set without templates in ``folder``.
    """
    tasks = _Reader(folder, seed, truncate).scored(mode)
    clusters = {task.cluster for task in tasks}
    return Mixture(name, tuple(Entry(task, rate=0) for task in tasks), suites=_suites(tasks, clusters))


@dataclasses.dataclass(frozen=True)
class _Reader:
    """Makes specs of the files in ``folder``."""

    folder: str | Path
    seed: int
    truncate: int

    def spec(self, data: T0Set, no_label: str = "", name: str = "") -> TaskSpec:
        left_out = LEFT_OUT.get((data.dataset, data.subset), ())
        return promptsource_task(
            data.dataset,
            data.subset,
            templates=lambda template: _cleaned(template.name) not in left_out,
            source=hub_source(data, name or task_name(data.dataset, data.subset)),
            folder=self.folder,
            name=name or None,
            collection="t0",
            seed=self.seed,
            truncate=self.truncate,
            no_label=no_label,
        )

    def scored(self, mode: PromptMode) -> tuple[Prompted, ...]:
        """The tasks of T0's evaluation."""
        evaluated = [data for data in T0_SETS.values() if data.evaluated]
        specs = [self.spec(data) for data in evaluated if data.dataset != "anli"]
        anli = T0_SETS["anli", None]
        for part in ANLI_ROUNDS:
            split = dataclasses.replace(anli, train=f"train_{part}", test=f"dev_{part}", train_size=0)
            specs.append(self.spec(split, name=f"p3_anli_{part}"))
        return tuple(Prompted(spec, mode) for spec in specs)


def _cleaned(name: str) -> str:
    return re.sub(r"[^\w.]+", "_", name)


def _drawn(spec: TaskSpec, prompts: Prompts) -> tuple[int, ...]:
    """The indices of the templates that are trained on. Templates stand in the order of their names, as T0 takes them."""
    original = tuple(i for i, template in enumerate(spec.templates) if getattr(template, "original_task", False))
    return {"all": tuple(range(len(spec.templates))), "original": original, "one": original[:1]}[prompts]


def _cap(data: T0Set, spec: TaskSpec) -> int:
    """The rate of one prompt."""
    if data.train_size <= MAX_EXAMPLES:
        return data.train_size
    return MAX_EXAMPLES // (len(spec.templates) + len(LEFT_OUT.get((data.dataset, data.subset), ())))


def _suites(tasks: tuple[Prompted, ...], trained: set[str]) -> tuple[Suite, ...]:
    clusters = tuple(dict.fromkeys(task.cluster for task in tasks))
    return tuple(
        Suite(cluster, tuple(task for task in tasks if task.cluster == cluster), held_out=cluster not in trained)
        for cluster in clusters
    )


def _register(name: str, model: str, prompts: Prompts = "all") -> None:
    arguments = (("name", name), ("model", model), ("prompts", prompts))
    register_mixture(name, FromDataFolder(t0_mixture, arguments))


_register("t0_train", "t0")
_register("t0+_train", "t0+")
_register("t0++_train", "t0++")
# The paper's ablation of prompts: one, or all that ask for the original task.
_register("t0_train_one_og_prompt", "t0", "one")
_register("t0_train_all_og_prompts", "t0", "original")
register_mixture("t0_eval", FromDataFolder(t0_evaluation))


def training_spec(data: T0Set, *, folder: str | Path = FOLDER, seed: int = 0, truncate: int = TRUNCATE) -> TaskSpec:
    """A data set of T0's training as a task with all of its templates."""
    return _Reader(folder, seed, truncate).spec(data, NO_LABEL)
