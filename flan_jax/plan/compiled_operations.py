"""Floating-point operations of the matrix products of a compiled program, of one device in one run, loops counted.

Beside those of the traced program they show what devices compute twice: a product that is not split over them.
"""

import math
import re

import numpy as np

from flan_jax.plan.hlo import HloProgram, Instruction, shape_dims

_CONTRACTED = re.compile(r"lhs_contracting_dims=\{([\d,]*)\}")
_GEMM = re.compile(r'"lhs_contracting_dimensions": ?\[([^\]]*)\]')
_SCORES = re.compile(r'"intermediate_tensor_shape": ?\{[^{}]*?"dimensions": ?\[([^\]]*)\]')
_CAUSAL = re.compile(r'"mask_type": ?"CAUSAL"')
_LABELS = re.compile(r"dim_labels=([^_]*)_([^-]*)->(\w+)")


def compiled_operations(program: HloProgram) -> float:
    """Returns the operations of dots, of the products that TPUs write as convolutions, of cuBLAS's calls and of cuDNN's attention."""
    counts, total = program.counts(), 0.0
    for name, body in program.computations.items():
        if not counts.get(name):
            continue
        shapes = {instruction.name: instruction.shape for instruction in body}
        total += counts[name] * sum(_operations(instruction, shapes) for instruction in body)
    return total


def _operations(instruction: Instruction, shapes: dict[str, str]) -> float:
    if instruction.opcode == "convolution":
        return _convolution(instruction, shapes)
    if "__cudnn$fmha" in instruction.text:
        return _attention(instruction, shapes)
    contracted = None
    if instruction.opcode == "dot":
        contracted = _CONTRACTED.search(instruction.text)
    elif instruction.opcode == "custom-call" and "__cublas$" in instruction.text:
        contracted = _GEMM.search(instruction.text)
    if contracted is None or not instruction.operands:
        return 0.0
    left = shape_dims(shapes.get(instruction.operands[0], ""))
    axes = [int(axis.strip('" ')) for axis in contracted[1].split(",") if axis.strip('" ')]
    if not left or any(axis >= len(left) for axis in axes):
        return 0.0
    return 2.0 * math.prod(shape_dims(instruction.shape)) * math.prod(left[axis] for axis in axes)


def _attention(instruction: Instruction, shapes: dict[str, str]) -> float:
    """cuDNN's attention: two products of every query and key, of which it skips half where they are causal.

    Backward there are five: the scores again, and the gradients of values, weights, queries and keys.
    """
    scores, width = _SCORES.search(instruction.text), shape_dims(shapes.get(instruction.operands[0], ""))
    if scores is None or not width:
        return 0.0
    pairs = math.prod(int(size.strip('" ')) for size in scores[1].split(","))
    causal = _CAUSAL.search(instruction.text) is not None
    products = 5 if "Backward" in instruction.text else 2
    return 2.0 * products * pairs * width[-1] / (2 if causal else 1)


def _convolution(instruction: Instruction, shapes: dict[str, str]) -> float:
    """A product written as a convolution: features are contracted, and those places of the window that are no padding.

    Batch axes of a product become axes of the window in which each result has one place that counts.
    """
    labels = _LABELS.search(instruction.text)
    if labels is None or len(instruction.operands) < 2:
        return 0.0
    image, kernel = (shape_dims(shapes.get(name, "")) for name in instruction.operands[:2])
    result, (of_image, of_kernel, of_result) = shape_dims(instruction.shape), labels.groups()
    if (len(image), len(kernel), len(result)) != (len(of_image), len(of_kernel), len(of_result)):
        return 0.0
    places = 1.0
    for axis in (label for label in of_kernel if label.isdigit()):
        sizes = (result[of_result.index(axis)], kernel[of_kernel.index(axis)], image[of_image.index(axis)])
        places *= _places(*sizes, _window(instruction.text, int(axis)))
    products = result[of_result.index("b")] * result[of_result.index("f")] * kernel[of_kernel.index("i")]
    return 2.0 * products * places


def _window(text: str, axis: int) -> dict[str, int]:
    """Stride, padding in front and dilations of one axis of a convolution's window."""
    found = re.search(r"window=\{([^}]*)\}", text)
    parts = dict(part.split("=", 1) for part in found[1].split()) if found else {}

    def value(name: str, default: int) -> int:
        return int(parts[name].split("x")[axis].split("_")[0]) if name in parts else default

    return {
        "stride": value("stride", 1),
        "pad": value("pad", 0),
        "lhs": value("lhs_dilate", 1),
        "rhs": value("rhs_dilate", 1),
    }


def _places(results: int, kernels: int, images: int, window: dict[str, int]) -> int:
    """The pairs of a result and a place of the kernel that meet a value of the image, along one axis."""
    place = np.arange(results)[:, None] * window["stride"] + np.arange(kernels) * window["rhs"] - window["pad"]
    inside = (place >= 0) & (place <= (images - 1) * window["lhs"]) & (place % window["lhs"] == 0)
    return int(inside.sum())
