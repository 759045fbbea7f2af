import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.errors import UserError
from flan_jax.feed.sampler import BLOCK, SHARE_BITS, MixtureSampler, SamplerStart, round_shares

mixtures = st.lists(
    st.tuples(st.integers(1, 3000), st.floats(0, 1) | st.floats(1e-9, 1e-3)), min_size=1, max_size=40
).filter(lambda tasks: any(weight > 0 for _, weight in tasks))


def sampler_of(tasks, seed=0):
    return MixtureSampler([size for size, _ in tasks], [weight for _, weight in tasks], seed)


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@given(mixtures, st.integers(0, 3 * BLOCK), st.integers(0, 2 * BLOCK), st.integers(0, 5))
def test_a_draw_depends_on_its_position_only(tasks, start, count, seed):
    whole = sampler_of(tasks, seed).draws(0, 5 * BLOCK)
    part = sampler_of(tasks, seed).draws(start, count)
    assert same(part, [column[start : start + count] for column in whole])
    assert [column.dtype for column in part] == [np.int32, np.int64, np.int32, np.int64]


def test_a_hundred_random_seeks_find_the_same_draws():
    tasks = [(100 + i, 1 + i % 7) for i in range(300)]
    sampler = sampler_of(tasks)
    whole = sampler_of(tasks).draws(0, 20_000)
    for start in np.random.default_rng(0).integers(0, 19_000, 100):
        assert same(sampler.draws(int(start), 57), [column[start : start + 57] for column in whole])


@given(mixtures)
def test_shares_hold_to_a_draw_at_the_end_of_every_block(tasks):
    sampler = sampler_of(tasks)
    shares = sampler.shares / 2**SHARE_BITS
    for block in (1, 2, 5, 10**6):
        counts = sampler.counts(sampler._first_of_block(block))
        assert np.abs(counts - shares * block * BLOCK).max() < 1 + 1e-6


@given(mixtures, st.integers(0, 4 * BLOCK))
def test_counts_are_those_of_the_draws(tasks, position):
    drawn = sampler_of(tasks).draws(0, position).task
    assert sampler_of(tasks).counts(position).tolist() == np.bincount(drawn, minlength=len(tasks)).tolist()


@given(mixtures, st.integers(0, 2 * 10**9))
def test_far_positions_are_found(tasks, start):
    sampler = sampler_of(tasks)
    before, draws = sampler.counts(start), sampler.draws(start, 100)
    assert before.sum() == start
    after = sampler.counts(start + 100)
    assert (after - before).tolist() == np.bincount(draws.task, minlength=len(tasks)).tolist()
    number = draws.epoch.astype(np.int64) * sampler.sizes[draws.task]
    assert (before[draws.task] // sampler.sizes[draws.task] <= draws.epoch).all()
    assert (number <= after[draws.task]).all()


def test_no_position_or_number_of_draws_is_negative():
    sampler = MixtureSampler([5], [1.0], 0)
    for start, count in ((-1, 1), (0, -1)):
        with pytest.raises(ValueError, match=f"start={start} and count={count} must not be negative"):
            sampler.draws(start, count)
    assert [column.shape for column in sampler.draws(3, 0)] == [(0,)] * 4


def test_a_position_beyond_exact_arithmetic_is_refused():
    # 2**46 nominal draws times a share of up to 2**40: more would not fit into the two halves of 64 bits.
    sampler, last = MixtureSampler([5], [1.0], 0), 2**46 - BLOCK - 1
    assert sampler.counts(last).tolist() == [last]
    assert sampler.draws(last, 1).draw_index.tolist() == [last]
    for read in (sampler.counts, lambda position: sampler.draws(position, 1)):
        with pytest.raises(ValueError, match="is beyond the last one"):
            read(last + 1)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=6), st.integers(0, 9))
def test_each_epoch_of_a_task_is_a_permutation(sizes, seed):
    sampler = MixtureSampler(sizes, [1.0] * len(sizes), seed)
    draws = sampler.draws(0, 3 * sum(sizes) + 500)
    orders = []
    for task, size in enumerate(sizes):
        mine = draws.task == task
        example, epoch = draws.example[mine], draws.epoch[mine]
        assert epoch.tolist() == (np.arange(len(epoch)) // size).tolist()
        for number in range(len(epoch) // size):
            order = example[epoch == number]
            assert np.sort(order).tolist() == list(range(size))
            orders.append((size, tuple(order)))
    large = [order for order in orders if order[0] > 20]
    assert len(set(large)) == len(large)  # a new order every epoch


def test_seeds_give_different_orders():
    one, other = (MixtureSampler([500] * 3, [1, 1, 1], seed).draws(0, 1000) for seed in (0, 1))
    assert not np.array_equal(one.task, other.task)
    assert not np.array_equal(one.example, other.example)


def test_tasks_are_mixed_inside_a_block():
    task = MixtureSampler([500, 500], [1, 1], 0).draws(0, BLOCK).task
    switches = int((np.diff(task) != 0).sum())
    assert switches == pytest.approx(BLOCK / 2, abs=6 * BLOCK**0.5 / 2)


def test_a_task_of_weight_zero_is_never_drawn_and_may_be_empty():
    draws = MixtureSampler([0, 10, 10], [0, 1, 0], 0).draws(0, 1000)
    assert set(draws.task.tolist()) == {1}


def test_a_rare_task_is_drawn_at_its_rate():
    sampler = MixtureSampler([10, 10], [1e-7, 1], 0)
    counts = sampler.counts(10**9)
    assert abs(counts[0] - 100) <= 1


@given(st.lists(st.floats(0, 1e300), min_size=1, max_size=50).filter(any))
def test_shares_are_rounded_to_exactly_one(weights):
    shares = round_shares(weights)
    assert int(shares.sum()) == 2**SHARE_BITS
    assert ((shares > 0) == (np.array(weights) > 0)).all()
    exact = np.array(weights) / max(weights)  # the sum of the weights themselves may overflow
    assert np.abs(shares / 2**SHARE_BITS - exact / exact.sum()).max() < 60 / 2**SHARE_BITS


def test_the_largest_remainders_are_rounded_up():
    # 2**40 / 7 leaves 2/7 of a unit, so the remainders are 2/7, 4/7 and 1/7; one unit is missing.
    assert round_shares([1, 2, 4]).tolist() == [2**40 // 7, 2 * 2**40 // 7 + 1, 4 * 2**40 // 7]


@pytest.mark.parametrize("weights", [[], [0, 0], [-1, 2], [float("nan"), 1], [float("inf"), 1]])
def test_unusable_weights_are_refused(weights):
    with pytest.raises(UserError):
        MixtureSampler([5] * len(weights), weights, 0)


def test_sizes_must_match_and_not_be_empty():
    with pytest.raises(UserError, match="2 sizes and 1 weights"):
        MixtureSampler([5, 5], [1], 0)
    with pytest.raises(UserError, match="Task 1 of the mixture has no examples"):
        MixtureSampler([5, 0], [1, 1], 0)


def test_golden_draws_hold_on_every_machine():
    draws = MixtureSampler([5, 30], [0.25, 0.75], 7).draws(1000, 8)
    assert [column.tolist() for column in draws] == [
        [1, 1, 1, 0, 0, 1, 0, 0],
        [7, 29, 15, 3, 2, 9, 0, 3],
        [25, 25, 25, 49, 49, 25, 49, 50],
        [753, 754, 755, 247, 248, 756, 249, 250],
    ]


@given(mixtures, st.integers(1, 3), st.sampled_from(["drop", "stop"]))
def test_an_exhausted_task_leaves_after_its_last_example(tasks, epochs, exhausted):
    sizes, weights = zip(*tasks, strict=True)
    sampler = MixtureSampler(sizes, weights, 1, exhausted=exhausted, epochs=epochs)
    assert sampler.total is not None
    limit = np.array(sizes) * epochs
    end = sampler.counts(sampler.total)
    drawn = np.array(weights) > 0
    assert end.sum() == sampler.total
    assert (end <= limit).all()
    # All of every task, or all of at least one.
    assert (end == limit)[drawn].all() if exhausted == "drop" else (end == limit)[drawn].any()
    if sampler.total < 100_000:
        draws = sampler.draws(0, sampler.total + 5)
        assert np.bincount(draws.task, minlength=len(sizes)).tolist() == end.tolist()
        for task in set(draws.task.tolist()):
            numbers = draws.draw_index[draws.task == task]
            assert numbers.tolist() == list(range(len(numbers)))
        middle = sampler.total // 2
        assert same(sampler.draws(middle, 50), [column[middle : middle + 50] for column in draws])
    assert len(sampler.draws(sampler.total, 10).task) == 0


def test_what_is_left_is_shared_in_the_old_proportions():
    sampler = MixtureSampler([4096, 10**6, 10**6], [0.5, 0.125, 0.375], 0, exhausted="drop")
    early, late = sampler.counts(8000), sampler.counts(500_000)
    assert early[0] == pytest.approx(4000, abs=200)
    assert late[0] == 4096
    assert sampler.counts(9000)[0] == 4096  # to the draw, not to the block
    assert late[2] / late[1] == pytest.approx(3, rel=0.01)


@given(
    st.lists(st.integers(1, 500), min_size=1, max_size=8),
    st.integers(0, 3 * BLOCK),
    st.integers(0, 50),
    st.integers(0, 9),
)
def test_a_new_part_begins_with_what_is_carried_over(sizes, position, carried_over, seed):
    weights = np.arange(1, len(sizes) + 1)
    sampler = MixtureSampler(sizes, weights, seed)
    begun = sampler.draws(0, position)
    carried_over = min(carried_over, position)
    held_back = np.random.default_rng(seed).permutation(position)[:carried_over]
    start = SamplerStart(1, sampler.counts(position), begun.task[held_back], begun.draw_index[held_back])
    part = MixtureSampler(sizes, weights[::-1], seed, start=start)
    then = part.draws(0, 2 * BLOCK)
    consumed = np.delete(np.arange(position), held_back)
    for task, size in enumerate(sizes):
        before = begun.draw_index[consumed][begun.task[consumed] == task]
        numbers = np.concatenate([before, then.draw_index[then.task == task]])
        mine = then.task == task
        # Every number once; and nothing new before all that is carried over is there.
        assert len(set(numbers.tolist())) == len(numbers)
        missing = set(range(numbers.max(initial=-1) + 1)) - set(numbers.tolist())
        assert not missing or len(then.draw_index[mine]) < (begun.task[held_back] == task).sum()
        assert then.epoch[mine].tolist() == (then.draw_index[mine] // size).tolist()


def test_each_part_is_shuffled_in_its_own_way():
    nothing = (np.zeros(3, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int64))
    tasks = [
        MixtureSampler([500] * 3, [1, 1, 1], 0, start=SamplerStart(part, *nothing)).draws(0, 1000).task
        for part in (0, 1, 2)
    ]
    assert not np.array_equal(tasks[0], tasks[1])
    assert not np.array_equal(tasks[1], tasks[2])


def test_an_unknown_policy_is_refused():
    with pytest.raises(UserError, match="Did you mean 'repeat'"):
        MixtureSampler([5], [1], 0, exhausted="repeats")
    with pytest.raises(UserError, match="0 epochs"):
        MixtureSampler([5], [1], 0, exhausted="stop", epochs=0)
