"""flan_jax: FLAN-style instruction tuning in JAX.

Importing this package is cheap: it imports neither JAX nor TensorFlow.
"""

__version__ = "0.1.0"
