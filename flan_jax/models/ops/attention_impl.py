"""Selection of the attention implementation, by what is asked for and what the hardware has.

All implementations give the same values. ``dense`` saves the exponentials of all scores for the backward pass. ``batch_chunked``
computes a few rows of the batch at a time and recomputes their scores: what lies between two products stays in a CPU's
cache, and nothing of it is saved. ``chunked`` computes chunks of queries of all rows and recomputes their scores: its
memory grows with the length of a row, not with its square. ``cudnn`` is NVIDIA's fused kernel, for decoders in
bfloat16 on a GPU. ``auto`` is ``cudnn`` where it runs, else ``chunked`` for long rows, ``batch_chunked`` where JAX has one CPU
device and the batch's scores do not fit into a chunk, and ``dense`` otherwise; T5, which has no causal order in its
encoder and cross-attention, takes ``batch_chunked`` before ``chunked`` where both would do.

How cuDNN takes masks, as JAX 0.10 passes them: a mask becomes an additive bias in the type of the queries, of the mask's
own shape ``[B, 1, T, S]`` (all heads share it), beside the causal order that lets it skip half of the work. Packed rows
thus cost one such array, which is small beside what ``dense`` saves. A learned bias would be added to it first and
become ``[B, H, T, S]``, as large as the scores that are to be spared: T5 does not use it.
"""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import NamedTuple

import jax

from flan_jax.errors import UserError, unknown

ATTENTIONS = ("auto", "dense", "batch_chunked", "chunked", "cudnn")
RENAMED_ATTENTIONS = {"plain": "dense", "rows": "batch_chunked"}
"""Values of earlier versions."""

CHUNK_ROW_BYTES = 64 * 2**20
"""Bytes of float32 scores of one row in one layer above which ``auto`` takes query chunks.

Measured on a CPU, forward and backward, 12 heads of 64: at 1,024 tokens (50 MB) ``dense`` took 112 ms and ``chunked``
126 ms; at 2,048 (201 MB) 461 ms and 364 ms.
"""

QUERY_CHUNK = 128
"""Queries of a chunk: the fastest of 64, 128 and 256 in the same measurement."""

BATCH_CHUNK_BYTES = 4 * 2**20
"""Bytes of float32 scores of a batch chunk, which is one row at least.

Measured on a CPU whose two cores have a cache of 2 MiB each and 32 MiB together. Attention of T5 small's encoder (8 rows
of 512, 8 heads of 64, forward and backward, six layers) took 0.68 s in chunks of one row (8 MiB), 0.80 s in chunks of
four, and 0.94 s ``dense``.
"""


_TRACED_FOR: contextvars.ContextVar[tuple[str, int] | None] = contextvars.ContextVar("traced_for", default=None)


@contextlib.contextmanager
def traced_for(backend: str, devices: int) -> Iterator[None]:
    """Selects implementations for other hardware than this process has: what is traced inside is compiled for that.

    Args:
        backend: ``gpu``, ``cpu`` or ``tpu``.
        devices: number of devices.
    """
    token = _TRACED_FOR.set((backend, devices))
    try:
        yield
    finally:
        _TRACED_FOR.reset(token)


def target_backend() -> str:
    """Returns what is compiled for, ``gpu``, ``cpu`` or ``tpu``: that of ``traced_for``, or else the one that JAX uses."""
    elsewhere = _TRACED_FOR.get()
    return jax.default_backend() if elsewhere is None else elsewhere[0]


class AttentionImpl(NamedTuple):
    """A selected implementation.

    Attributes:
        kind: ``dense``, ``batch_chunked``, ``chunked`` or ``cudnn``.
        query_chunk: queries computed at a time; ``None`` for all.
        batch_chunk: rows computed at a time, a divisor of the batch's; ``None`` for all.
    """

    kind: str
    query_chunk: int | None = None
    batch_chunk: int | None = None


def check_attention(owner: str, attention: str, *, cudnn_refuses: str = "") -> None:
    """Checks the value of a configuration's ``attention``.

    Args:
        owner: the configuration's name, for the message.
        attention: one of ``ATTENTIONS``.
        cudnn_refuses: why cuDNN cannot compute this model's attention; empty where it can.

    Raises:
        UserError: an unknown value, or ``cudnn`` for a model that it cannot compute.
    """
    if attention in RENAMED_ATTENTIONS:
        raise UserError(
            f"{owner}: attention {attention!r} is called {RENAMED_ATTENTIONS[attention]!r} now. Write that."
        )
    if attention not in ATTENTIONS:
        raise unknown("attention", str(attention), ATTENTIONS)
    if attention == "cudnn" and cudnn_refuses:
        others = ", ".join(f"'{name}'" for name in ATTENTIONS if name != "cudnn")
        raise UserError(f"{owner}: attention is 'cudnn', but {cudnn_refuses}. Give one of {others}.")


def cudnn_refusal(*, dtype: str, d_head: int, softcap: float | None) -> str:
    """Returns why cuDNN's kernel cannot compute such attention; empty where it can."""
    if dtype != "bfloat16":
        return f"cuDNN's attention has 16 bits and dtype is {dtype!r}"
    if d_head % 8 or d_head > 128:
        return f"cuDNN's heads are multiples of 8 up to 128 wide and d_head is {d_head}"
    return "cuDNN has no attention_softcap" if softcap is not None else ""


def select_impl(
    attention: str,
    *,
    rows: int,
    heads: int,
    queries: int,
    keys: int,
    cudnn_refuses: str,
    aligned: bool,
    backend: str | None = None,
    devices: int | None = None,
) -> AttentionImpl:
    """Selects the attention implementation.

    Args:
        attention: one of ``ATTENTIONS``.
        rows: of the batch.
        heads: query heads.
        queries: T.
        keys: S.
        cudnn_refuses: from ``cudnn_refusal``, or why else it does not run.
        aligned: queries and keys are the same tokens, as in training; decoding token by token is always dense.
        backend: ``gpu``, ``cpu`` or ``tpu``; by default that of ``traced_for``, or else the one that JAX uses.
        devices: number of devices, by default that of ``traced_for``, or else all that JAX has. With several, which share the rows of a batch,
            ``auto`` never chunks the batch.

    Raises:
        UserError: ``cudnn`` without a GPU, or rows of odd length.
    """
    elsewhere = _TRACED_FOR.get()
    if backend is None:
        backend = target_backend()
    if devices is None and elsewhere is not None:
        devices = elsewhere[1]
    if aligned and attention in ("auto", "cudnn"):
        if attention == "cudnn" and backend != "gpu":
            raise UserError(
                f"attention is 'cudnn', but JAX runs on {backend!r}. Give 'auto', which takes what is there."
            )
        odd = queries % 2 == 1
        if attention == "cudnn" and odd:
            raise UserError(
                f"attention is 'cudnn', but rows have {queries} tokens. cuDNN needs an even number of them."
            )
        if backend == "gpu" and not cudnn_refuses and not odd:
            return AttentionImpl("cudnn")
    row_bytes = 4 * heads * queries * keys
    if attention in ("auto", "cudnn"):
        devices = jax.device_count() if devices is None else devices
        small = rows * row_bytes <= BATCH_CHUNK_BYTES
        chunk_batch = backend == "cpu" and devices == 1 and rows > 1 and not small
        # T5's rows are not aligned: one at a time they spare a CPU as much, at the speed that was measured.
        long = queries > 1 and row_bytes > CHUNK_ROW_BYTES and (aligned or not chunk_batch)
        attention = "chunked" if long else "batch_chunked" if chunk_batch else "dense"
    if queries == 1 or attention == "dense":
        return AttentionImpl("dense")
    if attention == "chunked":
        return AttentionImpl("chunked", query_chunk=QUERY_CHUNK)
    fit = max(1, BATCH_CHUNK_BYTES // row_bytes)
    return AttentionImpl(
        "batch_chunked", batch_chunk=max(count for count in range(1, min(fit, rows) + 1) if rows % count == 0)
    )
