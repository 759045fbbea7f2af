"""Floating-point operations of a traced program, by its matrix products: 2 for each product and sum.

They are more than `models.operations` counts by formula: what is recomputed is among them, and every place of attention
scores, masked or not. cuDNN's attention skips half of the scores where they are causal, and recomputes them backward.
"""

import math
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr

_CUDNN = ("dot_product_attention_fwd", "dot_product_attention_bwd")


def product_operations(jaxpr: ClosedJaxpr | Jaxpr) -> float:
    """Returns the operations of all matrix products of a traced program on all devices together.

    A scan counts as often as it runs, a branch as its dearest; a `while` of unknown length counts once.
    """
    inner: Jaxpr = jaxpr.jaxpr if isinstance(jaxpr, ClosedJaxpr) else jaxpr
    total = 0.0
    for equation in inner.eqns:
        if equation.primitive.name == "dot_general":
            total += _product(equation)
            continue
        if equation.primitive.name.startswith(_CUDNN):
            total += _attention(equation)
            continue
        parts = [product_operations(part) for value in equation.params.values() for part in _programs(value)]
        if equation.primitive.name == "cond":
            total += max(parts, default=0.0)
        else:
            total += sum(parts) * (equation.params["length"] if equation.primitive.name == "scan" else 1)
    return total


def _product(equation: Any) -> float:
    ((contracted, _), _) = equation.params["dimension_numbers"]
    left = equation.invars[0].aval
    return 2.0 * math.prod(equation.outvars[0].aval.shape) * math.prod(left.shape[axis] for axis in contracted)


def _attention(equation: Any) -> float:
    """Two products of every query and key, five backward, in the layout [rows, places, heads, width]."""
    (rows, queries, heads, width), keys = equation.invars[0].aval.shape, equation.invars[1].aval.shape[1]
    causal = "CAUSAL" in str(equation.params["mask_type"])
    products = 5 if equation.primitive.name.startswith(_CUDNN[1]) else 2
    return 2.0 * products * rows * heads * queries * keys * width / (2 if causal else 1)


def _programs(value: Any) -> list[Any]:
    if isinstance(value, (ClosedJaxpr, Jaxpr)):
        return [value]
    if isinstance(value, (tuple, list)):
        return [part for item in value for part in _programs(item)]
    return []
