"""``real_sources``: published data as six sources that studies weigh, with two clusters held out of all of them.

The sources are Flan 2021's tasks, Super-NaturalInstructions, chains of thought, Dolly, OpenAssistant and P3, each a nested
mixture of one share. A run may leave a source out or weigh it by its name. No task of coreference or of entailment is trained on,
whatever its source calls it, nor what is near to them or made from the same texts: runs are compared and chosen by
``validation_clusters``, and ``held_out`` decides in the end.
"""

import dataclasses
from pathlib import Path

from flan_jax.data.collections.cot import CotFile
from flan_jax.data.collections.superni import superni_mixture
from flan_jax.data.collections.t0_datasets import T0_SETS
from flan_jax.data.instructions.mixture import mixture_of_path
from flan_jax.data.instructions.task import to_identifier
from flan_jax.data.sources.base import FromDataFolder, data_dir, resolve
from flan_jax.data.sources.published import source_dir
from flan_jax.errors import UserError
from flan_jax.mixing.holdout import hold_out_of
from flan_jax.mixing.mixture import Dropped, Entry, Mixture, Suite, register_mixture
from flan_jax.mixing.policies import Equal, Proportional
from flan_jax.tasks.catalog import TASKS
from flan_jax.tasks.spec import Prompted, PromptMode, TaskSpec
from flan_jax.tasks.task import prompted
from mixtures.rules import RULES

NAME = "real_sources"
CAP = 3000
"""Inside a source, a task's rate is its number of examples, but no more than this."""
VALIDATION, HELD_OUT = "coreference", "entailment"
"""The clusters of the suites ``validation_clusters`` and ``held_out``."""
CLASSIC = ("flan2021", "open")
DOLLY, OASST, P3 = "dolly/dolly_3k.jsonl", "chat/oasst/en_100_tree.jsonl", "p3_t0_rendered/recross"
PARAPHRASES = ("paws_x_en",)
"""Files of P3 that T0 does not know; they are near to entailment, as FLAN's rules have it."""
NEAR = {
    "task1364_hans_answer_generation": "it is entailment by another name",
    "task489_mwsc_question_generation": "made from winograd schemas, as wsc",
    "task275_enhanced_wsc_paraphrase_generation": "made from winograd schemas, as wsc",
}
"""Tasks of Super-NaturalInstructions that neither their category nor their source's name gives away."""


def real_sources(name: str = NAME) -> Mixture:
    """Makes the mixture of the six sources.

    Args:
        name: of the mixture.

    Returns:
        Entries: the sources ``flan2021``, ``superni``, ``cot``, ``dolly``, ``oasst`` and ``p3``, in equal shares. Suites:
        ``validation_clusters`` and ``held_out``, test records of classic tasks. ``dropped`` names what is neither.

    Raises:
        UserError: a source is not there, as leaving it out would be another study; or no task of a held-out cluster is.
    """
    if not data_dir().is_dir():
        raise UserError(f"DATA_DIR {str(data_dir())!r} is not a folder. Name the folder that holds the data.")
    superni, near = _superni()
    p3, dropped = _p3()
    parts = {
        "flan2021": _classic(),
        "superni": superni,
        "cot": _chains_of_thought(),
        "dolly": _instructions(DOLLY),
        "oasst": _instructions(OASST),
        "p3": p3,
    }
    missing = [part for part, tasks in parts.items() if not tasks]
    if missing:
        raise UserError(
            f"Mixture {name!r} finds nothing of {', '.join(missing)}: SOURCE_DIR is "
            f"{str(source_dir()) if source_dir() else 'not set'}, and the data folder is {str(resolve('.'))!r}. "
            f"Flan's tasks are read from SOURCE_DIR, the others from superni/, flan_cot/, {DOLLY}, {OASST} and {P3}/ in the data folder."
        )
    entries = tuple(
        Entry(Mixture(part, tuple(map(Entry, tasks)), policy=Proportional(cap=CAP))) for part, tasks in parts.items()
    )
    whole = Mixture(name, entries, policy=Equal(), dropped=(*dropped, *near))
    apart = hold_out_of(whole, (VALIDATION, HELD_OUT), RULES)
    tasks = [task for suite in apart.suites for task in suite.tasks if suite.split == "test"]
    suites = [
        Suite(suite, tuple(task for task in tasks if task.cluster == cluster), held_out=True)
        for suite, cluster in (("validation_clusters", VALIDATION), ("held_out", HELD_OUT))
    ]
    return dataclasses.replace(apart, name=name, suites=tuple(suites))


def _classic() -> tuple[Prompted, ...]:
    specs = [spec for spec in map(TASKS.get, TASKS) if spec.collection in CLASSIC]
    return tuple(Prompted(spec) for spec in specs if spec.source.local() is not None and "train" in spec.source.splits)


def _superni() -> tuple[tuple[Prompted, ...], tuple[Dropped, ...]]:
    """The training tasks of the official list that are there, with their definitions alone, and those that give too much away."""
    if not resolve("superni").is_dir():
        return (), ()
    tasks = prompted(superni_mixture(num_positive=0).train_tasks)
    near = tuple(Dropped(task.spec_name, NEAR[task.spec_name]) for task in tasks if task.spec_name in NEAR)
    return tuple(task for task in tasks if task.spec_name not in NEAR), near


def _chains_of_thought() -> tuple[Prompted, ...]:
    specs = [
        spec for spec in map(TASKS.get, TASKS) if isinstance(spec.source, CotFile) and spec.source.local() is not None
    ]
    return tuple(Prompted(spec, PromptMode.COT_ZS_OPT if spec.cot_templates else PromptMode.ZS_OPT) for spec in specs)


def _instructions(place: str) -> tuple[Prompted, ...]:
    return tuple(_specs(place)) if resolve(place).is_file() else ()


def _specs(place: str | Path) -> list[Prompted]:
    return [Prompted(task.spec) for task in prompted(mixture_of_path(place).train_tasks)]


def _p3() -> tuple[tuple[Prompted, ...], tuple[Dropped, ...]]:
    """The rendered tasks of P3 in T0's clusters, and those of held-out ones, whose answers have no options to be measured by."""
    if not resolve(P3).is_dir():
        return (), ()
    tasks, dropped = [], []
    for task in _specs(P3):
        spec = dataclasses.replace(task.spec, name=f"p3_{task.spec.name}", cluster=_t0_cluster(task.spec))
        if spec.cluster in (VALIDATION, HELD_OUT):
            dropped.append(Dropped(spec.name, f"{spec.cluster} is held out"))
        else:
            tasks.append(Prompted(spec))
    return tuple(tasks), tuple(dropped)


def _t0_cluster(spec: TaskSpec) -> str:
    """T0's cluster of a file that is called DATASET-SUBSET, ``p3`` where T0 knows no such."""
    if spec.name in PARAPHRASES:
        return "paraphrase"
    known = {
        to_identifier("_".join(filter(None, key))): found.cluster for key, found in T0_SETS.items() if found.family
    }
    return known.get(spec.name, "p3")


register_mixture(NAME, FromDataFolder(real_sources))
