"""flan_jax: FLAN-style instruction tuning in JAX.

Importing this package is cheap: it imports neither JAX nor TensorFlow.
"""

from flan_jax.simulated_devices import give_threads_to_simulated_devices

__version__ = "0.2.0"

give_threads_to_simulated_devices()
