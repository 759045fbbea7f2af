"""Taking rows of an array in equal groups, each from its own: on a mesh that splits the groups, no row leaves its device.

Shapes: G groups, R rows of each, P rows taken of each.
"""

import jax
from jax.lax import GatherDimensionNumbers, GatherScatterMode
from jaxtyping import Array, Int


def take_in_groups(x: Array, index_GP: Int[Array, "G P"], axis: int = 0) -> Array:
    """Takes rows of ``x``, whose ``axis`` holds G groups of R rows side by side.

    A gather over all G * R rows would say the same, but the compiler would not know that no row crosses a group, and
    would send the whole array to every device.

    >>> import jax.numpy as jnp
    >>> take_in_groups(jnp.array([10, 11, 20, 21]), jnp.array([[1, 1, 0], [0, 1, 1]])).tolist()
    [11, 11, 10, 20, 21, 21]

    Args:
        x: ``[..., G * R, ...]``.
        index_GP: 0 … R - 1, a row of the group; others are clipped to these.
        axis: of the rows.

    Returns:
        ``[..., G * P, ...]``.
    """
    groups, taken = index_GP.shape
    front, back = x.shape[:axis], x.shape[axis + 1 :]
    grouped = x.reshape(*front, groups, x.shape[axis] // groups, *back)
    numbers = GatherDimensionNumbers(
        offset_dims=(*range(axis), *range(axis + 2, grouped.ndim)),
        collapsed_slice_dims=(axis + 1,),
        start_index_map=(axis + 1,),
        operand_batching_dims=(axis,),
        start_indices_batching_dims=(0,),
    )
    sizes = (*front, 1, 1, *back)
    found = jax.lax.gather(grouped, index_GP[..., None], numbers, sizes, mode=GatherScatterMode.CLIP)
    return found.reshape(*front, groups * taken, *back)


def take_rows(x: Array, rows_P: Int[Array, "P"], parts: int = 1) -> Array:
    """Takes rows of ``x``; with ``parts``, the rows taken and those of ``x`` lie in as many equal parts, each of its own.

    Args:
        x: ``[B, ...]``.
        rows_P: 0 … B - 1. With ``parts`` above 1, those in the i-th of the parts are rows of the i-th part of ``x``.
        parts: must divide B and P.
    """
    if parts == 1:
        return x[rows_P]
    return take_in_groups(x, rows_P.reshape(parts, -1) % (x.shape[0] // parts))
