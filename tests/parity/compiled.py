"""How the models are compiled whose numbers are compared with PyTorch's.

Which of a loop's instructions LLVM reorders matters to the last bits alone, and to optimize the loops of a tiny model takes
most of a test's time. So one shape of every family is compiled as users have it, and the others quickly.
"""

from collections.abc import Callable
from typing import Any

import jax

from flan_jax.models import build

QUICKLY = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}
"""As the Makefile's flags of that name."""

# Op by op, a model is some eighty small programs to compile, and then as many for the next sizes.
apply = jax.jit(build.apply, static_argnums=0, compiler_options=QUICKLY)


def value_and_gradients(loss: Callable[..., Any], params: Any, *, as_users: bool) -> Any:
    """((value, logits), gradients) of a loss that returns its logits beside it: one program for all three."""
    options = None if as_users else QUICKLY
    return jax.jit(jax.value_and_grad(loss, has_aux=True), compiler_options=options)(params)
