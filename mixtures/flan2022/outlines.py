"""Tasks of Flan 2022 as its public code counts them, where the files that they are made of are not here.

They have a name, a cluster and a size, so that a mixture's rates can be told. Nothing can be
rendered from them: that takes promptsource's templates and the files of Super-NaturalInstructions.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from flan_jax.data.collections.t0_datasets import hub_source, task_name
from flan_jax.data.sources.base import digest
from flan_jax.errors import UserError
from flan_jax.tasks.source import NumberedRecord, Record, Source
from flan_jax.tasks.spec import Prompted, PromptMode, TaskSpec, Template
from flan_jax.tasks.style import FLAN_2022, FewShot
from mixtures.flan2022.cases import NATURAL_INSTRUCTIONS, t0_prompts_by_name


@dataclasses.dataclass(frozen=True)
class CountedElsewhere(Source):
    """The records of a data set that nobody has here."""

    name: str
    splits: tuple[str, ...] = ("train",)

    def read(self, split: str) -> Iterator[NumberedRecord]:
        """Refuses.

        Raises:
            UserError: always.
        """
        _refuse(self.name)

    def fingerprint(self, split: str) -> str:
        """Digest of name and split."""
        return digest("outline", self.name, split)

    def describe(self) -> str:
        """What is missing."""
        return f"{self.name}, of which only the published size is known"


def t0_outlines(mode: PromptMode) -> tuple[Prompted, ...]:
    """T0's 193 prompts in one mode, by name and size alone."""
    few_shot = FewShot(shots=5)
    specs: dict[str, TaskSpec] = {}
    found = []
    for _, (data, label) in sorted(t0_prompts_by_name().items()):
        name = task_name(data.dataset, data.subset)
        if name not in specs:
            specs[name] = _outline(name, data.cluster, hub_source(data, name), "t0")
        found.append(Prompted(specs[name], mode, variant=f"v2_{label}", style=FLAN_2022, few_shot=few_shot))
    return tuple(found)


def niv2_outlines(mode: PromptMode) -> tuple[Prompted, ...]:
    """Super-NaturalInstructions in one mode, by name and size alone, as the one task that it is in the public code."""
    source = CountedElsewhere("Super-NaturalInstructions")
    spec = _outline(NATURAL_INSTRUCTIONS, "natural_instructions", source, "niv2")
    shown = Prompted(spec, mode, variant="v2", style=FLAN_2022, few_shot=FewShot(shots=2))
    if not mode.few_shot:
        return (shown,)
    return (Prompted(spec, PromptMode.ZS_OPT, variant="v2_explained", style=FLAN_2022), shown)


def _outline(name: str, cluster: str, source: Source, collection: str) -> TaskSpec:
    return TaskSpec(
        name=name,
        cluster=cluster,
        source=source,
        fields=_no_fields,
        templates=(Template("{record}", "{answer}"),),
        slots=("record", "answer"),
        predict="generate",
        collection=collection,
    )


def _no_fields(record: Record) -> Mapping[str, Any]:
    _refuse("its files")


def _refuse(what: str) -> NoReturn:
    raise UserError(f"Only the published size is known of a task made from {what}. Name the DATA_DIR that holds it.")
