"""A small mixture of published tasks with two clusters held out, for what a published model does with them."""

from flan_jax.mixing.holdout import scored
from flan_jax.mixing.mixture import Entry, Mixture, Suite, register_mixture
from flan_jax.mixing.policies import Proportional
from flan_jax.tasks.catalog import TASKS
from flan_jax.tasks.spec import Prompted

TRAINED = ("arc_easy", "snli")
HELD_OUT = ("copa", "piqa", "wsc", "poem_sentiment")


def published_small() -> Mixture:
    """Science and entailment are trained on; common sense, coreference and sentiment are not."""
    return Mixture(
        "published_small",
        tuple(Entry(Prompted(TASKS.get(name))) for name in TRAINED),
        policy=Proportional(cap=500),
        suites=(
            Suite("held_in", tuple(scored(TASKS.get(name)) for name in TRAINED)),
            Suite("held_out", tuple(scored(TASKS.get(name)) for name in HELD_OUT), held_out=True),
        ),
    )


register_mixture("published_small", published_small)
