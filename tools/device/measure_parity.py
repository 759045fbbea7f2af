"""Logits and gradients in bfloat16 and float32 on the device against float32 on the CPU of the same machine.

Errors are the norm of the difference as a share of the norm of what it is held against; of gradients, of all parameters
together and of the worst one.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from device.cases import packed_batch, parity_models

from flan_jax.models.build import abstract_model, apply, init_model, merge
from flan_jax.models.config import ModelConfig
from flan_jax.models.ops.attention_impl import traced_for
from flan_jax.train.loss import model_loss

_ROUNDED = {"logits": 0.04, "gradients": 0.06, "worst": 0.1}
TOLERANCES = {
    "float32": {"logits": 1e-4, "gradients": 1e-3, "worst": 1e-2},
    "default": _ROUNDED,
    "bfloat16": _ROUNDED,
}
"""What is compared → the largest errors.

Those of bfloat16 are about three times what rounding does on a CPU: of the T5 0.012, 0.021 and 0.023, of the decoder 0.016,
0.022 and 0.026. The default precision is one pass in bfloat16 on a TPU, and ten bits on a GPU.
"""
ROWS = 3

Values = dict[str, Any]


def measure(settings: Mapping[str, Any], report: Callable[..., None]) -> None:
    """Compares three computations of each model with float32 on the CPU: in bfloat16, and in float32 with products in
    full and at JAX's default precision; and bfloat16 with float32 on the device."""
    device, cpu = jax.devices()[0], jax.local_devices(backend="cpu")[0]
    report(tolerances=TOLERANCES, device=device.device_kind)
    for name, (model, inputs, targets) in parity_models(settings["small"]).items():
        params = _params(model)
        batch = packed_batch(model, ROWS, inputs, targets)
        given = functools.cache(functools.partial(_values, model, params, batch))  # where the device is the CPU
        reference = given(cpu, "float32", "highest")
        exact = given(device, "float32", "highest")
        rounded = given(device, "bfloat16", None)
        found = {
            "float32": errors(exact, reference),
            "default": errors(given(device, "float32", None), reference),
            "bfloat16": errors(rounded, exact),
            "bfloat16_against_cpu": errors(rounded, reference),
            "bfloat16_of_cpu": errors(given(cpu, "bfloat16", None), reference),
        }
        report(**{name: {"lengths": [inputs, targets], **found}})


def _params(model: ModelConfig) -> Any:
    """The model's own random start, whose scores are as large as training begins with, with scales of norms off 1.

    Sharper scores would make rounding to eight bits choose other keys, which is no error of a device.
    """
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        params = jax.device_get(init_model(model, jax.random.key(0))[1])
    rng = np.random.default_rng(0)

    def changed(path: Any, leaf: np.ndarray) -> np.ndarray:
        scales = path[-1].key == "scale"
        return leaf * rng.uniform(0.5, 1.5, leaf.shape).astype(leaf.dtype) if scales else leaf

    return jax.tree.map_with_path(changed, params)


def _values(
    model: ModelConfig, params: Any, batch: Any, device: jax.Device, dtype: str, precision: str | None
) -> Values:
    config: Any = dataclasses.replace(model, dtype=dtype)  # type: ignore[type-var]
    graphdef = abstract_model(config)[0]

    def loss(params: Any, batch: Any) -> Any:
        sums = model_loss(merge(graphdef, params), batch, num_tasks=1)
        return sums.objective / sums.weight

    def both(params: Any, batch: Any) -> tuple[Any, Any]:
        return apply(graphdef, params, batch), jax.grad(loss)(params, batch)

    with traced_for(device.platform, 1), jax.default_matmul_precision(precision or "default"):
        logits, gradients = jax.jit(both)(*jax.device_put((params, batch), device))
    flat = jax.tree.leaves_with_path(gradients)
    return {
        "logits": _host(logits),
        "gradients": {jax.tree_util.keystr(path, simple=True, separator="/"): _host(leaf) for path, leaf in flat},
    }


def _host(array: Any) -> np.ndarray:
    return np.asarray(jax.device_get(array.astype(jnp.float32)), np.float64)


def errors(found: Values, wanted: Values) -> dict[str, Any]:
    """Returns the relative errors `logits`, `gradients`, `worst` and the parameter of it; NaN counts as infinite."""
    each = {name: _relative([gradient], [wanted["gradients"][name]]) for name, gradient in found["gradients"].items()}
    worst = max(each, key=lambda name: each[name])
    return {
        "logits": _relative([found["logits"]], [wanted["logits"]]),
        "gradients": _relative(list(found["gradients"].values()), [wanted["gradients"][name] for name in each]),
        "worst": each[worst],
        "worst_parameter": worst,
    }


def _relative(found: list[np.ndarray], wanted: list[np.ndarray]) -> float:
    difference = sum(float(np.square(a - b).sum()) for a, b in zip(found, wanted, strict=True))
    size = sum(float(np.square(b).sum()) for b in wanted)
    error = float(np.sqrt(difference / max(size, 1e-300)))
    return error if np.isfinite(error) else 1e300
