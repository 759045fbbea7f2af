"""Flan 2022, the Flan Collection (Longpre et al. 2023, arXiv:2301.13688), under the names of its public code.

Five collections are mixed, each in several prompt modes: ``flan2021_submix``, ``t0_submix``,
``niv2_submix``, ``cot_submix`` and ``dialog_submix`` make up ``flan2022_submix``. Inside a mode a
task's rate is min(examples, cap of its collection). T0's prompts, Super-NaturalInstructions and the
chain-of-thought files are read from the user's own copies, when a mixture is asked for by name.

Three sets of weights circulate, so each is named: the public code's, which is the default, and the
paper's proportions A and B. Where this differs from the public code: a task is trained on its first
30,000 examples, as in Flan 2021 (its rate is capped there anyway); every Super-NaturalInstructions
task is a task of its own, so that their cap takes effect; LAMBADA and UnifiedQA's science questions,
which the public code adds to Flan 2021, are not there.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

from flan_jax.data.file_readers.jsonl_folder import FolderSource
from flan_jax.data.sources.base import FromDataFolder, resolve
from flan_jax.mixing.mixture import Entry, Mixture, Suite, get_mixture, register_mixture
from flan_jax.mixing.policies import Proportional
from flan_jax.tasks.catalog import TASKS
from flan_jax.tasks.invert import SUFFIX
from flan_jax.tasks.spec import Prompted, PromptMode, TaskSpec
from flan_jax.tasks.style import FLAN_2022, FewShot
from mixtures.flan2021.collection import specs as flan2021_specs
from mixtures.flan2022.outlines import niv2_outlines
from mixtures.flan2022.t0 import t0_prompts
from mixtures.superni import FOLDER as NIV2_FOLDER
from mixtures.superni import niv2_prompts

CAPS = {
    "flan2021": 30_000,
    "t0": 20_000,
    "niv2": 5_000,
    "cot": 100_000,
    "dialog": 200_000,
    "program_synthesis": 100_000,
}
"""A task's rate is its number of examples, but no more than this."""
PUBLIC_CODE = {"flan2021": 0.40, "t0": 0.32, "niv2": 0.20, "cot": 0.05, "dialog": 0.03}
"""Weights of the public ``run_example.py``."""
PROPORTION_A = {"flan2021": 0.52, "t0": 0.15, "cot": 0.03, "niv2": 0.30}
PROPORTION_B = {"flan2021": 0.460, "t0": 0.279, "cot": 0.018, "niv2": 0.242}
"""Weights of the paper's table 23; its program synthesis data were not published."""
WITH_PROGRAMS = {**PUBLIC_CODE, "program_synthesis": 0.03}
"""The public code's weights, and those of the user's own programs, whose share was published nowhere: the same as
dialog's is our choice, as is the cap. Mixing makes shares of weights, whatever their sum."""
INVERTED_RATE = 0.3
"""In cot and dialog, what the inverted tasks get where the tasks themselves get 1."""

OPT = (PromptMode.ZS_OPT, PromptMode.FS_OPT)
ALL = (PromptMode.ZS_OPT, PromptMode.FS_OPT, PromptMode.ZS_NOOPT, PromptMode.FS_NOOPT)
MODES = {"flan2021": ALL, "t0": ALL, "niv2": OPT, "cot": OPT, "dialog": OPT, "program_synthesis": OPT}
"""The prompt modes of a collection, in equal parts."""

SHORT = {collection: "flan" if collection == "flan2021" else collection for collection in MODES}
MIXED = FewShot(shots=5, templates="mixed")
"""Five solved examples, each with a template of its own."""
MATCHING = FewShot(shots=25, templates="matching")
"""Of 25 drawn with templates of their own, those that have the query's: 2.5 on average, of ten templates."""


@dataclasses.dataclass(frozen=True)
class Variant:
    """What a variant of Flan 2022 leaves out.

    Attributes:
        weights: collection → its share.
        inversion: train on inverted tasks and templates.
        few_shot: train on prompts with solved examples.
        balanced: collections get their shares; without it every task gets its number of examples.
        outlined: T0's prompts and Super-NaturalInstructions stand in it by name and size alone where
            their files are not here. Rates can be told of such a mixture, and nothing else.
    """

    weights: Mapping[str, float] = dataclasses.field(default_factory=lambda: PUBLIC_CODE)
    inversion: bool = True
    few_shot: bool = True
    balanced: bool = True
    outlined: bool = False


PUBLIC = Variant()


def mode_mixture(collection: str, mode: PromptMode, variant: Variant = PUBLIC) -> Mixture:
    """One collection in one prompt mode, such as ``flan_zsopt``.

    Args:
        collection: one of ``MODES``.
        mode: one of its modes.
        variant: what is left out.
    """
    name = f"{SHORT[collection]}_{str(mode).replace('_', '')}" + ("" if variant.inversion else "_no_inversion")
    policy = Proportional(cap=CAPS[collection])
    if collection == "t0":
        return Mixture(name, _entries(t0_prompts(mode, outlined=variant.outlined), variant), policy)
    if collection == "niv2":
        here = not variant.outlined or resolve(NIV2_FOLDER).is_dir()
        return Mixture(name, _entries(niv2_prompts(mode) if here else niv2_outlines(mode), variant), policy)
    given = flan2021_specs() if collection == "flan2021" else _collected(collection)
    base = [spec for spec in given if not spec.name.endswith(SUFFIX)]
    turned = [spec for spec in given if spec.name.endswith(SUFFIX)]
    prompts = [prompted for spec in base for prompted in prompts_of(spec, mode)]
    if not turned or not variant.inversion:
        return Mixture(name, _entries(prompts, variant), policy)
    inverted = [prompted for spec in turned for prompted in prompts_of(spec, mode)]
    parts = (
        Mixture(f"{name}_base", _entries(prompts, variant), policy),
        Mixture(f"{name}_ii", _entries(inverted, variant), policy),
    )
    return Mixture(name, tuple(map(Entry, parts, (1.0, INVERTED_RATE))))


def prompts_of(spec: TaskSpec, mode: PromptMode) -> tuple[Prompted, ...]:
    """A task as Flan 2022 shows it in one mode. A task that reasons does so in every mode."""
    if spec.cot_templates:
        mode = PromptMode(f"cot_{mode}")
    if not mode.few_shot:
        return (Prompted(spec, mode, variant="v2", style=FLAN_2022),)
    drawn = (("mixed", MIXED), ("matching", MATCHING)) if mode.shows_options else (("matching", MATCHING),)
    return tuple(Prompted(spec, mode, variant=f"v2_{how}", style=FLAN_2022, few_shot=shots) for how, shots in drawn)


def _collected(collection: str) -> list[TaskSpec]:
    """Its tasks; a user's own folder counts where there is something in it."""
    found = [spec for spec in map(TASKS.get, TASKS) if spec.collection == collection]
    return [spec for spec in found if not isinstance(spec.source, FolderSource) or spec.source.exists()]


def _entries(prompts: Sequence[Prompted], variant: Variant) -> tuple[Entry, ...]:
    if variant.inversion:
        return tuple(map(Entry, prompts))
    return tuple(
        Entry(dataclasses.replace(prompted, template_ids=kept, variant=f"{prompted.variant}_as_asked".strip("_")))
        if (kept := tuple(i for i in prompted.drawn_templates if i in prompted.scored_templates))
        != prompted.drawn_templates
        else Entry(prompted)
        for prompted in prompts
        if set(prompted.drawn_templates) & set(prompted.scored_templates)
    )


def submix(collection: str, variant: Variant = PUBLIC) -> Mixture:
    """One collection in its prompt modes, in equal parts: ``flan2021_submix`` and its like."""
    modes = [mode for mode in MODES[collection] if variant.few_shot or not mode.few_shot]
    parts = (() if variant.inversion else ("no_inversion",)) + (() if variant.few_shot else ("no_few_shot",))
    name = "_".join((collection, "submix", *parts))
    return Mixture(name, tuple(Entry(mode_mixture(collection, mode, variant), 1.0) for mode in modes))


def flan2022(name: str, variant: Variant = PUBLIC) -> Mixture:
    """The collections together.

    Returns:
        Suite ``held_in``: validation records of Flan 2021, zero-shot.
    """
    entries = tuple(
        Entry(submix(collection, variant), weight if variant.balanced else None)
        for collection, weight in variant.weights.items()
        if weight
    )
    held_in = tuple(task for suite in get_mixture("flan2021").suites for task in suite.tasks)
    return Mixture(name, entries, suites=(Suite("held_in", held_in, split="validation"),))


def _without(collection: str) -> Variant:
    return Variant({other: weight for other, weight in PUBLIC_CODE.items() if other != collection})


VARIANTS: dict[str, Variant] = {
    "flan2022_submix": PUBLIC,
    "flan2022_with_programs": Variant(WITH_PROGRAMS),
    "flan2022_proportion_a": Variant(PROPORTION_A),
    "flan2022_proportion_b": Variant(PROPORTION_B),
    "flan2022_no_inversion": Variant(inversion=False),
    "flan2022_no_balancing": Variant(balanced=False),
    "flan2022_no_few_shot": Variant(few_shot=False),
    **{f"flan2022_no_{collection}": _without(collection) for collection in PUBLIC_CODE},
    **{f"flan2022_only_{collection}": Variant({collection: 1.0}) for collection in PUBLIC_CODE},
}
"""The public mixture, the paper's proportions, and its ablations."""

_FROM_FOLDERS = ("t0", "niv2", "program_synthesis")


def _register() -> None:
    def add(known_as: str, make: Callable[..., Mixture], reads: bool, **arguments: object) -> None:
        if not reads:
            register_mixture(known_as, functools.partial(make, **arguments))
            return
        # What reads the data folder is resolved only when it is asked for by name.
        variant = arguments.get("variant", PUBLIC)
        assert isinstance(variant, Variant)
        outline = (("variant", dataclasses.replace(variant, outlined=True)),)
        register_mixture(known_as, FromDataFolder(make, tuple(arguments.items()), outline))

    for collection, modes in MODES.items():
        reads = collection in _FROM_FOLDERS
        for mode in modes:
            name = f"{SHORT[collection]}_{str(mode).replace('_', '')}"
            add(name, mode_mixture, reads, collection=collection, mode=mode)
        add(f"{collection}_submix", submix, reads, collection=collection)
        # There, the name is that of the collection's own mixture, or of its task.
        if collection not in ("flan2021", "niv2", "program_synthesis"):
            add(collection, whole_collection, reads, collection=collection)
    for name, variant in VARIANTS.items():
        add(name, flan2022, bool(set(variant.weights) & set(_FROM_FOLDERS)), name=name, variant=variant)


def whole_collection(collection: str, variant: Variant = PUBLIC) -> Mixture:
    """A collection by itself, zero-shot, under its own name."""
    return dataclasses.replace(mode_mixture(collection, PromptMode.ZS_OPT, variant), name=collection)


_register()
