"""Types that annotations of models share."""

import numpy as np
from jaxtyping import Array, PRNGKeyArray

AnyArray = Array | np.ndarray
"""Tokens, segment ids and positions may come straight from the feed."""
Key = PRNGKeyArray | Array
"""Typed keys, and the raw uint32 ones of ``jax.random.PRNGKey``."""
