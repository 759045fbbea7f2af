"""Super-NaturalInstructions over a user's own copy: ``DATA_DIR/superni/{tasks,splits}``.

Nothing is read before a mixture is asked for by name.
"""

from flan_jax.data.sources import FromDataFolder
from flan_jax.data.superni import niv2_mixture, superni_mixture
from flan_jax.mixing.mixture import register_mixture

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

# FLAN 2022's part of it: every task but those made from MMLU, with the definition alone, or with one worked example
# and its explanation.
register_mixture("niv2", FromDataFolder(niv2_mixture))
register_mixture(
    "niv2_pos_1_expl",
    FromDataFolder(niv2_mixture, (("name", "niv2_pos_1_expl"), ("num_positive", 1), ("explanations", True))),
)
