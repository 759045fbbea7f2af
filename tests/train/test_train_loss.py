import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.train.loss import token_loss

SHAPE = (4, 5, 7)  # B, T, V
loss_of = jax.jit(token_loss, static_argnames=("num_tasks", "z_loss"))


def example(seed: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    rows, length, vocab = SHAPE
    weights = rng.choice([0.0, 0.5, 1.0], size=(rows, length)).astype(np.float32)
    return rng.normal(scale=3, size=SHAPE).astype(np.float32), {
        "decoder_target_tokens": rng.integers(0, vocab, (rows, length)).astype(np.int32),
        "decoder_loss_weights": weights,
        "decoder_task_ids": np.where(weights > 0, rng.integers(0, 3, (rows, length)), -1).astype(np.int32),
    }


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_sums_are_those_of_a_plain_loop(seed: int) -> None:
    logits, batch = example(seed)
    sums = loss_of(logits, batch, num_tasks=4, z_loss=0.1)
    loss = z_loss = correct = 0.0
    task_loss, task_weight = np.zeros(4), np.zeros(4)
    for index in np.ndindex(*SHAPE[:2]):
        row = logits[index].astype(np.float64)
        normalizer = np.log(np.exp(row).sum())
        weight, target, task = (
            batch[f"decoder_{name}"][index] for name in ("loss_weights", "target_tokens", "task_ids")
        )
        nll = normalizer - row[target]
        loss += weight * nll
        z_loss += weight * 0.1 * normalizer**2
        correct += weight * (row.argmax() == target)
        if task >= 0:
            task_loss[task] += weight * nll
            task_weight[task] += weight
    np.testing.assert_allclose(sums.loss, loss, rtol=1e-5)
    np.testing.assert_allclose(sums.z_loss, z_loss, rtol=1e-5)
    np.testing.assert_allclose(sums.correct, correct, rtol=1e-6)
    np.testing.assert_allclose(sums.weight, batch["decoder_loss_weights"].sum(), rtol=1e-6)
    np.testing.assert_allclose(sums.task_loss, task_loss, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(sums.task_weight, task_weight, rtol=1e-6)


def test_sums_add_up_over_parts_of_a_batch() -> None:
    logits, batch = example(0)
    whole = loss_of(logits, batch, num_tasks=3)
    parts = [
        loss_of(logits[rows], {name: values[rows] for name, values in batch.items()}, num_tasks=3)
        for rows in (slice(0, 2), slice(2, 4))
    ]
    total = jax.tree.map(lambda a, b: a + b, *parts)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), whole, total)


def test_a_task_that_is_not_there_stays_zero_and_huge_logits_stay_finite() -> None:
    logits, batch = example(1)
    sums = loss_of(logits * 1e4, batch, num_tasks=5)
    assert np.isfinite(sums.loss)
    np.testing.assert_array_equal(sums.task_weight[3:], 0.0)
    np.testing.assert_array_equal(sums.task_loss[3:], 0.0)
