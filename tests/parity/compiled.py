"""How the models are compiled whose numbers are compared with PyTorch's.

Which of a loop's instructions LLVM reorders matters to the last bits alone, and to optimize the loops of a tiny model takes
most of a test's time. So `make test-parity` compiles quickly, and as users have it where a test says so: one shape of every
kind of layers with its gradients.
"""

from collections.abc import Callable
from typing import Any

import jax

from flan_jax.models import build

AS_USERS = {
    "xla_backend_optimization_level": 3,
    "xla_cpu_use_fusion_emitters": True,
    "xla_cpu_parallel_codegen_split_count": 32,
}
"""XLA's own values of the Makefile's flags QUICKLY."""

# Op by op, a model is some eighty small programs to compile, and then as many for the next sizes.
apply = jax.jit(build.apply, static_argnums=0)


def value_and_gradients(loss: Callable[..., Any], params: Any, *, as_users: bool) -> Any:
    """((value, logits), gradients) of a loss that returns its logits beside it: one program for all three."""
    options = AS_USERS if as_users else None
    return jax.jit(jax.value_and_grad(loss, has_aux=True), compiler_options=options)(params)
