"""Makes ``flan_jax`` a model of lm-evaluation-harness, whose registry has no other way in than a call."""

from collections.abc import Callable

from flan_jax.experiments.config import RunConfig
from flan_jax.harness.model_arguments import ModelArguments
from flan_jax.harness.versions import check_version

NAME = "flan_jax"


def register(find_config: Callable[[ModelArguments], RunConfig]) -> None:
    """Registers the model with the harness of this process; once or again.

    Args:
        find_config: finds the configuration of what ``path`` names.

    Raises:
        UserError: no harness is installed, or an unsupported release.
    """
    check_version()
    # The harness loads its own models only while its registry is empty: ours alone in it would hide them all.
    import lm_eval.models  # noqa: F401
    from lm_eval.api.registry import register_model

    from flan_jax.harness.language_model import FlanJaxLM

    FlanJaxLM.find_config = staticmethod(find_config)
    register_model(NAME)(FlanJaxLM)
