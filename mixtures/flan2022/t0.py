"""T0's part of Flan 2022: 193 prompts, each a task of its own, of data sets that Flan 2021 does not have."""

import re
from collections.abc import Iterator
from pathlib import Path

from flan_jax.data.collections.t0_datasets import T0_SETS
from flan_jax.data.sources.base import resolve
from flan_jax.data.templates.promptsource import FOLDER
from flan_jax.errors import UserError
from flan_jax.tasks.spec import Prompted, PromptMode
from flan_jax.tasks.style import FLAN_2022, FewShot
from mixtures.flan2022.cases import published_cases, t0_prompts_by_name
from mixtures.flan2022.outlines import t0_outlines
from mixtures.t0 import training_spec


def t0_prompts(mode: PromptMode, *, folder: str | Path = FOLDER, outlined: bool = False) -> tuple[Prompted, ...]:
    """The 193 prompts in one mode. A prompt with solved examples shows them with its own template.

    Args:
        mode: how the prompt is built.
        folder: promptsource's folder ``templates``.
        outlined: where the folder is not there, take the prompts by name and size alone.

    Raises:
        UserError: a file of templates is missing, or has none of the name that the collection uses.
    """
    if outlined and not resolve(folder).is_dir():
        return t0_outlines(mode)
    wanted = set(published_cases()["t0"])
    found = dict(_prompts(wanted, mode, folder))
    if missing := sorted(wanted - set(found)):
        raise UserError(
            f"{len(missing)} of Flan 2022's {len(wanted)} prompts of T0 are not in promptsource's folder {str(folder)!r}, "
            f"the first is {missing[0]!r}. Take the templates of promptsource 0.2."
        )
    return tuple(found[name] for name in sorted(found))


def _prompts(wanted: set[str], mode: PromptMode, folder: str | Path) -> Iterator[tuple[str, Prompted]]:
    """(the public code's name, prompt) of every template that is wanted."""
    few_shot = FewShot(shots=5)
    for data in T0_SETS.values():
        begins = "_".join(filter(None, (data.dataset, data.subset)))
        if not any(name.startswith(f"{begins}_") for name in wanted):
            continue
        spec = training_spec(data, folder=folder)
        for index, template in enumerate(spec.templates):
            name = f"{begins}_" + re.sub(r"[^\w.]+", "_", getattr(template, "name", ""))
            if name in wanted:
                label = t0_prompts_by_name()[name].label
                yield name, Prompted(spec, mode, (index,), f"v2_{label}", FLAN_2022, few_shot)
