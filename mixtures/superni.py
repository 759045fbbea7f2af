"""Super-NaturalInstructions over a user's own copy: ``DATA_DIR/superni/{tasks,splits}``.

Nothing is read before a mixture is asked for by name.
"""

from flan_jax.data.collections.superni import SuperNIFields, niv2_tasks, superni_mixture
from flan_jax.data.sources.base import FromDataFolder
from flan_jax.mixing.mixture import Entry, Mixture, Suite, register_mixture
from flan_jax.mixing.policies import Proportional
from flan_jax.tasks.spec import Prompted, PromptMode
from flan_jax.tasks.style import FLAN_2022, FewShot

# The encodings that the benchmark's paper compares. Its default: the definition and two positive examples.
_ENCODINGS: dict[str, tuple[tuple[str, object], ...]] = {
    "superni": (),
    "superni_definition": (("num_positive", 0),),
    "superni_pos_1": (("num_positive", 1),),
    "superni_pos_4": (("num_positive", 4),),
    "superni_pos_expl": (("explanations", True),),
    "superni_pos_neg": (("num_negative", 2),),
    "superni_pos_neg_expl": (("num_negative", 2), ("explanations", True)),
}
for _name, _arguments in _ENCODINGS.items():
    _named = (("name", _name),) if _name != "superni" else ()
    register_mixture(_name, FromDataFolder(superni_mixture, (*_named, *_arguments)))

# The track in which the test tasks are in other languages than English.
register_mixture(
    "superni_xlingual",
    FromDataFolder(superni_mixture, (("name", "superni_xlingual"), ("track", "xlingual"))),
)

FOLDER = "superni"
"""The user's copy, below the data folder."""
ONE_EXPLAINED = SuperNIFields(num_positive=1, explanations=True)


def niv2_prompts(mode: PromptMode, *, folder: str = FOLDER) -> tuple[Prompted, ...]:
    """Every task but MMLU's, as FLAN 2022 shows them in one mode: ``ZS_OPT`` or ``FS_OPT``.

    Without solved examples, the definition alone. With them, either one worked example of the
    task's own and why it is right, or two instances of its training split.

    Args:
        mode: how the prompt is built.
        folder: as for ``niv2_tasks``.

    Raises:
        UserError: as ``niv2_tasks``.
    """
    defined = niv2_tasks(folder=folder)
    if not mode.few_shot:
        return tuple(Prompted(spec, mode, variant="v2", style=FLAN_2022) for spec in defined)
    explained = niv2_tasks(folder=folder, fields=ONE_EXPLAINED)
    return (
        # Its example stands inside of the template, so that to the renderer it is no few-shot prompt.
        *(Prompted(spec, PromptMode.ZS_OPT, variant="v2_explained", style=FLAN_2022) for spec in explained),
        *(Prompted(spec, mode, variant="v2", style=FLAN_2022, few_shot=FewShot(shots=2)) for spec in defined),
    )


def niv2_mixture(name: str = "niv2", *, folder: str = FOLDER) -> Mixture:
    """FLAN 2022's tasks of Super-NaturalInstructions by themselves, zero-shot, none counted above 5,000 examples."""
    tasks = niv2_prompts(PromptMode.ZS_OPT, folder=folder)
    return Mixture(
        name,
        tuple(map(Entry, tasks)),
        policy=Proportional(cap=5_000),
        suites=(Suite("held_in", tasks, split="validation"),),
    )


register_mixture("niv2", FromDataFolder(niv2_mixture))
