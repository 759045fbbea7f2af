"""``flan_local``: everything that lies on this machine, as one mixture. It needs no network.

Published tasks are read from SOURCE_DIR (a folder of JSON lines a task), Super-NaturalInstructions,
the chain-of-thought files and instruction data of any known format from DATA_DIR. What is not there
is left out. A cluster is held out of all of it at once with HOLD_OUT.
"""

import dataclasses

from flan_jax.data.collections.cot import CotFile
from flan_jax.data.collections.superni import superni_mixture
from flan_jax.data.file_readers.suffixes import is_data_file
from flan_jax.data.instructions.mixture import mixture_of_path
from flan_jax.data.instructions.task import unique_name
from flan_jax.data.sources.base import FromDataFolder, data_dir, resolve
from flan_jax.data.sources.published import source_dir
from flan_jax.errors import UserError
from flan_jax.mixing.holdout import scored
from flan_jax.mixing.mixture import Dropped, Entry, Mixture, Suite, register_mixture
from flan_jax.mixing.policies import Proportional
from flan_jax.tasks.catalog import TASKS
from flan_jax.tasks.spec import Prompted, PromptMode, TaskSpec
from flan_jax.tasks.task import prompted

NAME = "flan_local"
CAP = 3000
"""A task's rate is its number of examples, but no more than this."""
INSTRUCTIONS = "instructions"
"""Every file of records and every folder in ``DATA_DIR/instructions`` is read, and these, where they are there:"""
PLACES = (
    "dolly/dolly_3k.jsonl",
    "alpaca_schema_small/instruction-data.json",
    "chat/oasst/en_100_tree.jsonl",
    "chat/fastchat/dummy_conversation.json",
)
SUPERNI = "superni"
CLASSIC = ("flan2021", "open")
SHARES = {"classic": 0.5, "superni": 0.2, "cot": 0.1, "instructions": 0.2}
"""The parts' shares of the draws; those of missing parts go to the others."""


def flan_local(name: str = NAME, files: tuple[str, ...] = ()) -> Mixture:
    """The mixture of what is there.

    Args:
        name: of the mixture.
        files: further instruction data, below the data folder.

    Returns:
        Suite: ``held_in``, test records of the classic tasks. The test tasks of Super-NaturalInstructions
        are not among them: some are made from the same data sets.

    Raises:
        UserError: nothing is there, or a named file or the data folder is not.
    """
    if not data_dir().is_dir():  # a misspelt one would train on less, and nobody would see it
        raise UserError(f"DATA_DIR {str(data_dir())!r} is not a folder. Name the folder that holds the data.")
    classic = _here([spec for spec in map(TASKS.get, TASKS) if spec.collection in CLASSIC])
    cot = [
        spec for spec in map(TASKS.get, TASKS) if isinstance(spec.source, CotFile) and spec.source.local() is not None
    ]
    parts: dict[str, Mixture] = {}
    suites: list[Suite] = []
    dropped: tuple[Dropped, ...] = ()
    notes: list[str] = []
    if classic:
        parts["classic"] = _part(
            f"{name}_classic", [Prompted(spec) for spec in classic if "train" in spec.source.splits]
        )
        suites.append(Suite("held_in", tuple(scored(spec) for spec in classic if "test" in spec.source.splits)))
        neither = [spec for spec in classic if not {"train", "test"} & set(spec.source.splits)]
        dropped = tuple(Dropped(spec.name, f"has only {', '.join(spec.source.splits)}") for spec in neither)
    if resolve(SUPERNI).is_dir():
        parts["superni"] = superni_mixture(f"{name}_superni")
    if cot:
        modes = {spec: PromptMode.COT_ZS_OPT if spec.cot_templates else PromptMode.ZS_OPT for spec in cot}
        parts["cot"] = _part(f"{name}_cot", [Prompted(spec, mode) for spec, mode in modes.items()])
    found = [*files, *_instruction_data()]
    if found:
        read = [mixture_of_path(file) for file in found]
        notes += [note for mixture in read for note in mixture.notes]
        tasks = [task for mixture in read for task in prompted(mixture.train_tasks)]
        taken = set(TASKS)  # a file may be called like a task that ships, or like another file
        named = [dataclasses.replace(task.spec, name=unique_name(task.spec.name, taken)) for task in tasks]
        tasks = [dataclasses.replace(task, spec=spec) for task, spec in zip(tasks, named, strict=True)]
        parts["instructions"] = _part(f"{name}_instructions", tasks)
    if not parts:
        raise UserError(
            f"Mixture {name!r} finds nothing: SOURCE_DIR is {str(source_dir()) if source_dir() else 'not set'}, and the data "
            f"folder {str(resolve('.'))!r} has no {SUPERNI}/, flan_cot/ or {INSTRUCTIONS}/. Set one of them."
        )
    entries = tuple(Entry(part, SHARES[kind]) for kind, part in parts.items())
    return Mixture(name, entries, suites=tuple(suites), dropped=dropped, notes=tuple(notes))


def _here(specs: list[TaskSpec]) -> list[TaskSpec]:
    return [spec for spec in specs if spec.source.local() is not None]


def _part(name: str, tasks: list[Prompted]) -> Mixture:
    return Mixture(name, tuple(map(Entry, tasks)), policy=Proportional(cap=CAP))


def _instruction_data() -> list[str]:
    folder = resolve(INSTRUCTIONS)
    found = [place for place in PLACES if resolve(place).is_file()]
    if not folder.is_dir():
        return found
    shown = (path for path in folder.iterdir() if not path.name.startswith("."))
    return found + sorted(f"{INSTRUCTIONS}/{path.name}" for path in shown if path.is_dir() or is_data_file(path))


register_mixture(NAME, FromDataFolder(flan_local))
