"""Super-NaturalInstructions over a user's own copy: ``DATA_DIR/superni/{tasks,splits}``.

Nothing is read before a mixture is asked for by name.
"""

from flan_jax.data.sources import FromDataFolder
from flan_jax.data.superni import superni_mixture
from flan_jax.mixing.mixture import register_mixture

# The benchmark's default encoding: the definition and two positive examples.
register_mixture("superni", FromDataFolder(superni_mixture))
# The definition alone: the zero-shot encoding.
register_mixture(
    "superni_definition",
    FromDataFolder(superni_mixture, (("name", "superni_definition"), ("num_positive", 0))),
)
