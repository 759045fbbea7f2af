"""The training of a run: its mixture with the parts, prompts and rates that its options choose."""

from flan_jax.mixing.config import MixingConfig
from flan_jax.mixing.mixture import Mixture
from flan_jax.mixing.parts import kept_parts, weighted
from flan_jax.mixing.training_prompts import with_training_prompts
from flan_jax.mixing.training_rates import with_training_rates


def chosen_training(mixture: Mixture, config: MixingConfig, seed: int) -> Mixture:
    """Returns the mixture trained on as a configuration says, in the order that ``MixingConfig`` states.

    Args:
        mixture: as declared, with what is held out.
        config: as it is, a configuration of defaults changes nothing.
        seed: of the run; ``config.template_seed`` goes before it.

    Raises:
        UserError: as ``kept_parts``, ``with_training_prompts``, ``with_training_rates`` and ``weighted``.
    """
    seed = seed if config.template_seed is None else config.template_seed
    kept = kept_parts(mixture, config.keep, config.leave_out)
    prompted = with_training_prompts(kept, config, seed)
    return weighted(with_training_rates(prompted, config), config.weights)
