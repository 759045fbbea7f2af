import collections
import json
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.feed import consumed, packed_chunks, packed_row_index, token_table
from flan_jax.feed.config import FeedConfig
from flan_jax.feed.layout import BATCH_KEYS
from flan_jax.feed.loader import PackedBatches
from flan_jax.option_groups import group_of
from flan_jax.store import arrow

LENGTHS = {"inputs": 24, "targets": 10}
SIZES = (7, 40, 90)
WEIGHTS = (0.2, 0.3, 0.5)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Chunks small enough that a few batches cross several of them."""
    monkeypatch.setattr(packed_chunks, "CHUNK_DRAWS", 64)
    monkeypatch.setattr(packed_row_index, "CHUNK_DRAWS", 64)
    monkeypatch.setattr(consumed, "CHUNK_DRAWS", 64)


@pytest.fixture
def batches_of(make_tasks):
    """Makes loaders over the same stored tasks, and closes them."""
    tasks, made = make_tasks(SIZES), []

    def make(weights=WEIGHTS, *, tasks=tasks, **options):
        config = group_of(FeedConfig, {"batch_size": 8, **options})
        others = {name: value for name, value in options.items() if name not in vars(config)}
        made.append(PackedBatches(tasks, weights, config, **{"seed": 3, "lengths": LENGTHS, "prefetch": 0, **others}))
        return made[-1]

    make.tasks = tasks
    yield make
    for batches in made:
        batches.close()


def take(batches, count):
    return [next(batches) for _ in range(count)]


def assert_equal(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert tuple(a) == tuple(b) == BATCH_KEYS
        for name in BATCH_KEYS:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def segments(batches):
    """The same of a decoder's batch too, where inputs end before the first token that the loss counts."""
    if "encoder_segment_ids" in batches[0]:
        yield from examples_in(batches)
        return
    for batch in batches:
        for row in range(len(batch["decoder_segment_ids"])):
            for segment in range(1, batch["decoder_segment_ids"][row].max() + 1):
                inside = batch["decoder_segment_ids"][row] == segment
                tokens, weights = (batch[f"decoder_{name}"][row][inside] for name in ("target_tokens", "loss_weights"))
                assert np.diff(weights).min(initial=0) >= 0
                yield (
                    int(batch["decoder_task_ids"][row][inside][0]),
                    tuple(tokens[weights == 0].tolist()),
                    tuple(tokens[weights == 1].tolist()),
                )


def examples_in(batches):
    """(task, inputs, targets) of every segment, in order of rows."""
    for batch in batches:
        for row in range(len(batch["encoder_segment_ids"])):
            for segment in range(1, batch["decoder_segment_ids"][row].max() + 1):
                encoder, decoder = (batch[f"{side}_segment_ids"][row] == segment for side in ("encoder", "decoder"))
                yield (
                    int(batch["decoder_task_ids"][row][decoder][0]),
                    tuple(batch["encoder_input_tokens"][row][encoder].tolist()),
                    tuple(batch["decoder_target_tokens"][row][decoder].tolist()),
                )


def drawn_from(batches, count):
    """(task, inputs, targets) of the first draws, from the store."""
    draws = batches._row_index.sampler.draws(0, count)
    for task, example in zip(draws.task.tolist(), draws.example.tolist(), strict=True):
        stored = batches._initial_config.tasks[task]
        yield (task, tuple(stored.inputs(example).tolist()), tuple(stored.targets(example).tolist()))


def test_unpacked_batches_hold_the_draws_in_their_order(batches_of):
    batches = batches_of(pack=False)
    assert list(examples_in(take(batches, 40))) == list(drawn_from(batches, 320))


@pytest.mark.parametrize("deviations", [3.0, 0.02])
@pytest.mark.parametrize("decoder_only", [False, True])
def test_packed_windows_hold_the_drawn_examples_and_nothing_else(batches_of, monkeypatch, deviations, decoder_only):
    # With next to no margin, every other window leaves rows over to the next one.
    monkeypatch.setattr(packed_row_index, "_MARGIN_DEVIATIONS", deviations)
    monkeypatch.setattr(packed_row_index, "WINDOW_CHUNKS", 6)
    monkeypatch.setattr(packed_row_index, "TAIL_CHUNKS", 2)
    batches = batches_of(batch_size=1, decoder_only=decoder_only, seed=1)
    rows = batches._row_index.capacity.rows
    found = collections.Counter()
    overflown = 0
    for window in range(4):
        found.update(segments(take(batches, rows)))
        found_before = consumed.consumed_before(batches._row_index, (window + 1) * rows)
        carried_over = len(found_before.carried_over_task)
        overflown += carried_over
        expected = collections.Counter(drawn_from(batches, 6 * 64 * (window + 1)))
        assert found <= expected
        assert (expected - found).total() == carried_over
        assert found_before.examples.sum() == found.total()
    assert not overflown if deviations == 3 else overflown or decoder_only


def test_empty_rows_are_few_and_spread(batches_of):
    batches = batches_of(batch_size=2)
    rows = batches._row_index.capacity.rows
    empty = np.concatenate([batch["decoder_segment_ids"].max(axis=1) == 0 for batch in take(batches, rows)])
    assert empty.sum() == 2 * rows - sum(
        batches._row_index.chunks.num_rows(chunk) for chunk in range(2 * packed_row_index.WINDOW_CHUNKS)
    )
    assert 0 < np.convolve(empty, np.ones(16)).max() <= 5


def test_examples_are_packed_in_whichever_order_leaves_fewer_rows(batches_of):
    assert batches_of()._row_index.chunks.longest_first
    mixed = batches_of(lengths={"inputs": 24, "targets": 12})._row_index
    counts = [len(mixed.layout.pack(*mixed.chunks._draw(0)[-2:], longest_first=first)) for first in (True, False)]
    assert len(mixed.chunks[0].rows) == min(counts)


def test_the_margin_is_less_than_a_percent(batches_of, monkeypatch):
    for module in (packed_chunks, packed_row_index, consumed):
        monkeypatch.setattr(module, "CHUNK_DRAWS", 4096)
    row_index = batches_of()._row_index
    needed = sum(row_index.chunks.num_rows(chunk) for chunk in range(packed_row_index.WINDOW_CHUNKS))
    assert needed < row_index.capacity.own < row_index.capacity.rows < 1.01 * needed


def test_packed_and_unpacked_have_the_same_keys_and_types(batches_of):
    packed, unpacked = next(batches_of()), next(batches_of(pack=False))
    assert {name: (a.shape, a.dtype) for name, a in packed.items()} == {
        name: (a.shape, a.dtype) for name, a in unpacked.items()
    }
    assert packed["encoder_segment_ids"].max() > 1
    assert unpacked["encoder_segment_ids"].max() == 1


@pytest.mark.parametrize("hosts", [1, 2, 4, 8])
def test_the_global_batch_is_the_same_for_any_number_of_hosts(batches_of, hosts):
    whole = take(batches_of(), 12)
    parts = [take(batches_of(process_index=i, process_count=hosts), 12) for i in range(hosts)]
    together = [
        {name: np.concatenate([part[step][name] for part in parts]) for name in BATCH_KEYS} for step in range(12)
    ]
    assert_equal(together, whole)


def test_how_a_file_is_cut_into_chunks_changes_nothing(batches_of, make_tasks, monkeypatch):
    monkeypatch.setattr(arrow, "CHUNK_EXAMPLES", 11)
    cut = make_tasks(SIZES, folder="cut")
    assert len(cut[2].tokens.inputs.values) == 9
    assert_equal(take(batches_of(tasks=cut), 20), take(batches_of(), 20))


def test_every_host_counts_the_global_batch(batches_of):
    one, part = batches_of(), batches_of(process_index=1, process_count=4)
    take(one, 5), take(part, 5)
    assert one.sampling_stats().tokens.tolist() == part.sampling_stats().tokens.tolist()


@pytest.mark.parametrize("pack", [True, False])
def test_any_batch_is_a_place_to_resume_from(batches_of, pack):
    reference = batches_of(pack=pack)
    states, whole = [reference.get_state()], []
    for _ in range(15):
        whole += take(reference, 1)
        states.append(reference.get_state())
    other = batches_of(pack=pack, prefetch=2)
    for step in np.random.default_rng(0).permutation(15):
        other.set_state(json.loads(json.dumps(states[step])))
        assert other.step == step
        assert_equal(take(other, min(3, 15 - step)), whole[step : step + 3])


@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_the_state_is_that_of_the_last_batch_consumed(batches_of, prefetch):
    batches = batches_of(prefetch=prefetch)
    plain = batches_of()
    for _ in range(4):
        assert_equal(take(batches, 1), take(plain, 1))
        time.sleep(0.02)  # the thread runs ahead
        assert batches.get_state() == plain.get_state()
        assert batches.sampling_stats().tokens.tolist() == plain.sampling_stats().tokens.tolist()
    continued = batches_of()
    continued.set_state(batches.get_state())
    assert_equal(take(continued, 3), take(batches, 3))


def test_the_state_is_a_few_integers(batches_of):
    batches = batches_of()
    take(batches, 3)
    state = batches.get_state()
    assert all(isinstance(value, int) and 0 <= value < 2**53 for value in state.values())
    assert len(json.dumps(state)) < 200
    assert state["window_rows"] == 0
    batches.seek(10**6)
    take(batches, 1)
    state = batches.get_state()
    other = batches_of()
    other.set_state(state)
    assert other._row_index.cached_capacity == batches._row_index.capacity  # the first window is not packed again
    assert_equal(take(other, 2), take(batches, 2))


@pytest.mark.parametrize("pack", [True, False])
def test_seeking_by_step_finds_the_same_batch(batches_of, pack):
    whole = take(batches_of(pack=pack), 20)
    batches = batches_of(pack=pack, prefetch=2)
    for step in (13, 0, 7, 19):
        batches.seek(step)
        assert batches.step == step
        assert_equal(take(batches, 1), whole[step : step + 1])
    with pytest.raises(UserError, match="Step -1"):
        batches.seek(-1)


def test_the_seed_changes_the_order(batches_of):
    one, other = next(batches_of(seed=0)), next(batches_of(seed=1))
    assert (one["encoder_input_tokens"] != other["encoder_input_tokens"]).any()


@pytest.mark.parametrize("looked_up", [7, 1 << 20])  # lengths at a time: it bounds memory and changes nothing
def test_sampling_stats_follow_from_the_batches_and_from_the_position(batches_of, monkeypatch, looked_up):
    monkeypatch.setattr(consumed, "_LOOKUP_EXAMPLES", looked_up)
    batches = batches_of()
    seen = take(batches, 40)
    counted = batches.sampling_stats()
    tasks = np.concatenate([batch["decoder_task_ids"].ravel() for batch in seen])
    assert counted.target_tokens.tolist() == np.bincount(tasks[tasks >= 0], minlength=3).tolist()
    examples = np.bincount([task for task, _, _ in examples_in(seen)], minlength=3)
    assert counted.examples.tolist() == examples.tolist()
    assert counted.tokens.sum() == sum(
        (batch[f"{side}_segment_ids"] > 0).sum() for batch in seen for side in ("encoder", "decoder")
    )
    assert counted.epochs.max() > 3  # whole epochs and a rest
    np.testing.assert_allclose(counted.epochs, examples / np.array(SIZES))
    np.testing.assert_allclose(counted.requested, WEIGHTS, atol=1e-9)
    np.testing.assert_allclose(counted.shares, WEIGHTS, atol=0.05)
    other = batches_of()
    other.set_state(batches.get_state())
    for name in ("examples", "input_tokens", "target_tokens"):
        assert getattr(other.sampling_stats(), name).tolist() == getattr(counted, name).tolist()
    take(other, 2), take(batches, 2)
    assert other.sampling_stats().tokens.tolist() == batches.sampling_stats().tokens.tolist()
    assert counted.names == ("task0", "task1", "task2")


def test_sampling_stats_are_not_changed_by_what_follows(batches_of):
    batches = batches_of()
    take(batches, 1)
    before = batches.sampling_stats()
    total = int(before.examples.sum())
    take(batches, 1)
    assert before.examples.sum() == total


def test_a_position_of_other_tasks_weights_or_lengths_is_refused(batches_of, make_tasks):
    state = batches_of().get_state()
    changed = make_tasks((7, 41, 90), folder="changed")
    with pytest.raises(UserError, match=r"cannot be continued: the tasks or what they were prepared from changed"):
        batches_of(tasks=changed).set_state(state)
    with pytest.raises(UserError, match="the weights or the seed changed"):
        batches_of((0.3, 0.3, 0.4)).set_state(state)
    with pytest.raises(UserError, match="the weights or the seed changed"):
        batches_of(seed=4).set_state(state)
    for options in ({"pack": False}, {"decoder_only": True}, {"exhausted": "stop"}):
        with pytest.raises(UserError, match="the lengths, packing, or what becomes of exhausted tasks changed"):
            batches_of(**options).set_state(state)
    with pytest.raises(UserError, match=r"has no row, step"):
        batches_of().set_state({name: state[name] for name in state if name not in ("row", "step")})
    # Scaled weights are the same weights; a batch size only cuts the same rows differently.
    batches_of((2, 3, 5), batch_size=4).set_state(state)


def test_a_row_too_short_for_a_task_is_refused_with_the_remedy(batches_of):
    with pytest.raises(
        UserError, match=r"'task0' has inputs of up to \d+ tokens, longer than the 5.*TASK_FEATURE_LENGTHS\['inputs'\]"
    ):
        batches_of(lengths={"inputs": 5, "targets": 10})
    with pytest.raises(UserError, match=r"has targets of up to 6 tokens, longer than the 4"):
        batches_of((0, 0, 1), lengths={"inputs": 24, "targets": 4})
    longest = [task.manifest["max_input_length"] for task in batches_of.tasks]
    short = batches_of((1, 0, 0), lengths={"inputs": longest[0], "targets": 12})
    assert longest[0] < longest[2]
    with pytest.raises(UserError, match="'task2' has inputs"):
        short.set_weights([1, 0, 1])  # it was drawn from never before


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"data_workers": -1}, "data_workers is -1"),
        ({"prefetch": -1}, "-1 prefetched batches"),
        ({"batch_size": 6, "process_count": 4}, "multiple of the number of hosts, 4"),
        ({"lengths": {"inputs": 24}}, "length of targets"),
        ({"weights": (1, 1)}, "3 tasks and 2 weights"),
        ({"weights": (0, 0, 0)}, "not all zero"),
    ],
)
def test_unusable_settings_are_refused(batches_of, options, sentence):
    with pytest.raises(UserError, match=sentence):
        batches_of(**options)


def test_a_task_of_weight_zero_may_be_empty_or_too_long(batches_of, make_tasks):
    tasks = make_tasks((0, 5, 5), longest=(12, 6), folder="other")
    batch = next(batches_of((0, 1, 0), tasks=tasks))
    assert set(np.unique(batch["decoder_task_ids"])) == {-1, 1}
    with pytest.raises(UserError, match="no examples"):
        batches_of((1, 1, 1), tasks=tasks)


def test_closing_stops_the_thread(batches_of):
    before = threading.active_count()
    batches = batches_of(prefetch=2)
    next(batches)
    assert threading.active_count() > before
    batches.close()
    assert threading.active_count() == before
    with pytest.raises(ValueError, match="closed"):
        next(batches)


def test_leaving_the_interpreter_with_a_loader_open_is_silent(batches_of):
    store = batches_of.tasks[0].folder.parents[2]
    program = f"""
from flan_jax.feed.config import FeedConfig
from flan_jax.feed.loader import PackedBatches
from flan_jax.store.store import TokenStore
import sys
batches = PackedBatches([TokenStore({str(store)!r}).open("task0", "train")], [1], FeedConfig(batch_size=2), seed=0,
                        lengths={LENGTHS!r})
next(batches)
assert "tensorflow" not in sys.modules and "seqio" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_millionth_step_is_found_without_what_comes_before(batches_of):
    batches, other = batches_of(prefetch=1), batches_of()
    batches.seek(1_000_000)
    found = take(batches, 30)
    other.seek(1_000_017)
    assert_equal(take(other, 3), found[17:20])
    assert (other.step, batches.step) == (1_000_020, 1_000_030)
    sampling_stats = batches.sampling_stats()
    np.testing.assert_allclose(sampling_stats.shares, WEIGHTS, atol=1e-4)
    # Counted from the position and counted up give the same.
    take(batches, 5)
    counted = batches.sampling_stats()
    other.seek(1_000_035)
    for name in ("examples", "input_tokens", "target_tokens"):
        assert getattr(other.sampling_stats(), name).tolist() == getattr(counted, name).tolist()


@pytest.mark.parametrize("pack", [True, False])
@pytest.mark.parametrize("exhausted", ["drop", "stop"])
@pytest.mark.parametrize("window", [64, 3])
def test_batches_end_where_exhausted_tasks_end_them(batches_of, monkeypatch, pack, exhausted, window):
    monkeypatch.setattr(packed_row_index, "WINDOW_CHUNKS", window)
    monkeypatch.setattr(packed_row_index, "TAIL_CHUNKS", window // 2)
    batches = batches_of(exhausted=exhausted, max_epochs=4, pack=pack, prefetch=2)
    found = list(batches)
    sampling_stats = batches.sampling_stats()
    examples = collections.Counter(examples_in(found))
    assert sum(examples.values()) == sampling_stats.examples.sum() == batches._row_index.sampler.total
    assert max(examples.values()) <= 4
    assert (sampling_stats.epochs == 4).all() if exhausted == "drop" else (sampling_stats.epochs == 4).any()
    assert next(batches, None) is None
    for step in (0, len(found) // 2, len(found) - 1):
        batches.seek(step)
        assert_equal(list(batches), found[step:])


def test_worker_processes_give_the_same_batches(batches_of, monkeypatch):
    for module in (packed_chunks, packed_row_index, consumed):
        monkeypatch.setattr(module, "CHUNK_DRAWS", 4096)  # as in the workers, which no test can reach into
    whole = take(batches_of(), 9)
    batches = batches_of(data_workers=2)
    assert_equal(take(batches, 5), whole[:5])
    state = batches.get_state()
    take(batches, 2)
    batches.set_state(state)
    assert_equal(take(batches, 4), whole[5:9])
    assert batches.sampling_stats().tokens.sum() == sum(
        (batch[f"{side}_segment_ids"] > 0).sum() for batch in whole for side in ("encoder", "decoder")
    )


def everything(batches, count):
    return collections.Counter(example for batch in take(batches, count) for example in examples_in([batch]))


@pytest.mark.parametrize("pack", [True, False])
@pytest.mark.parametrize("prefetch", [0, 2])
def test_new_weights_hold_from_the_next_batch_on_and_nothing_is_lost(batches_of, pack, prefetch):
    told = []
    batches = batches_of(
        pack=pack, prefetch=prefetch, on_weights=lambda step, shares, holds_after: told.append((step, shares))
    )
    found = everything(batches, 7)
    batches.set_weights([0.0, 0.0, 1.0])
    late = take(batches, 6)
    assert {task for task, _, _ in examples_in(late)} == {2}
    found += collections.Counter(examples_in(late))
    batches.set_weights({"task0": 0.5, "task1": 0.25, "task2": 0.25})
    found += everything(batches, 40)
    assert [step for step, _ in told] == [7, 13]
    assert told[0][1] == {"task0": 0.0, "task1": 0.0, "task2": 1.0}
    sampling_stats = batches.sampling_stats()
    assert sampling_stats.examples.sum() == sum(found.values())
    assert sampling_stats.expected.sum() == pytest.approx(sum(found.values()))
    assert sampling_stats.tokens.sum() == sum((len(a) + len(b)) * n for (_, a, b), n in found.items())
    # Every epoch is complete but the one at hand, however often weights changed: at the end of it
    # the most and the least drawn example of a task differ by what the current chunk still holds back.
    for task, size in enumerate(SIZES):
        counts = sorted([n for (t, _, _), n in found.items() if t == task] + [0] * size)[-size:]
        assert counts[-1] - counts[0] <= 1 + -(-64 // size)


def test_changed_weights_travel_with_the_position(batches_of):
    batches = batches_of()
    take(batches, 5)
    batches.set_weights([3, 2, 1])
    take(batches, 4)
    state = json.loads(json.dumps(batches.get_state()))
    other = batches_of(prefetch=2)
    take(other, 2)
    other.set_state(state)
    assert other.weights == batches.weights
    for name in ("expected", "examples", "input_tokens", "target_tokens"):
        assert getattr(other.sampling_stats(), name).tolist() == getattr(batches.sampling_stats(), name).tolist()
    assert_equal(take(other, 6), take(batches, 6))
    other.set_weights([1, 1, 1]), batches.set_weights([1, 1, 1])
    assert_equal(take(other, 6), take(batches, 6))
    restored = batches_of()
    restored.set_state(state)
    take(restored, 6)
    restored.set_weights([1, 1, 1])  # counts what was consumed from the position alone
    take(restored, 6)
    for name in ("expected", "examples", "input_tokens", "target_tokens"):
        assert getattr(restored.sampling_stats(), name).tolist() == getattr(batches.sampling_stats(), name).tolist()
    with pytest.raises(UserError, match="lies before step 15, at which the weights changed"):
        batches.seek(14)
    fresh = batches_of()
    other.set_state(fresh.get_state())
    assert_equal(take(other, 3), take(fresh, 3))


def test_shares_follow_a_task_that_dropped_out(batches_of):
    told, options = [], {"exhausted": "drop", "max_epochs": 2, "batch_size": 4}
    batches = batches_of(on_weights=lambda *line: told.append(line), **options)
    drawn, states, in_force = np.zeros(3, np.int64), [], []
    while (batch := next(batches, None)) is not None:
        drawn += np.bincount([task for task, _, _ in examples_in([batch])], minlength=3)
        states.append(json.loads(json.dumps(batches.get_state())))
        in_force.append(batches.weights)
    assert drawn.tolist() == [2 * size for size in SIZES]
    # What is left over shares the draws as before among themselves.
    first, second, third = {tuple(shares.values()): None for shares in in_force}
    assert first == pytest.approx(WEIGHTS)
    assert second == pytest.approx((0, 0.375, 0.625))
    assert third == (0, 0, 1)
    changes = [at for at in range(1, len(in_force)) if in_force[at] != in_force[at - 1]]
    assert told == [(at + 1, in_force[at], at + 1) for at in changes]
    assert [state.get("in_force") for state in states] == [
        None if tuple(shares.values()) == first else shares for shares in in_force
    ]
    # Sizes, not shares, decided what was drawn in the end, and that was asked for.
    assert batches.sampling_stats().requested == pytest.approx(batches.sampling_stats().shares, abs=0.01)
    for at in (changes[0] - 1, changes[0], len(states) - 1):
        other = batches_of(on_weights=lambda *line: told.append(line), **options)
        other.set_state(states[at])
        assert other.weights == in_force[at]
        told.clear()
        list(other)
        assert [step for step, _, _ in told] == [change + 1 for change in changes if change > at]


def test_new_weights_look_at_no_example(batches_of, monkeypatch):
    batches = batches_of()
    take(batches, 5)
    asked = []
    monkeypatch.setattr(batches._row_index.table, "lengths", asked.append)
    batches.set_weights([3, 2, 1])
    assert asked == []  # however many were drawn: what was consumed is known


def test_unusable_new_weights_change_nothing(batches_of):
    batches, reference = batches_of(prefetch=1), batches_of()
    take(batches, 3), take(reference, 3)
    for weights, sentence in (
        ([0, 0, 0], "not all zero"),
        ([1, 2], "3 tasks and 2 weights"),
        ({"task0": 1}, "'task1' is missing"),
        ({"task0": 1, "task1": 1, "task2": 1, "other": 1}, "'other' is not one of them"),
    ):
        with pytest.raises(UserError, match=sentence):
            batches.set_weights(weights)
    assert_equal(take(batches, 3), take(reference, 3))


def test_a_run_can_go_on_over_other_tasks(batches_of, make_tasks):
    old = batches_of()
    seen = everything(old, 12)
    changed = make_tasks((7, 41, 90), folder="changed")  # task1 is another one now
    tasks = [changed[1], batches_of.tasks[2], batches_of.tasks[0]]
    tasks[0].fingerprint = "f" * 32
    new = batches_of((0.3, 0.5, 0.2), tasks=[*tasks])
    new.continue_from(old.progress())
    assert new.step == 12
    before = old.sampling_stats()
    assert new.sampling_stats().examples.tolist() == [0, before.examples[2], before.examples[0]]
    later = everything(new, 30)
    assert new.sampling_stats().epochs[0] > 0
    for task, ours in ((0, 2), (2, 1)):
        both = collections.Counter({key[1:]: n for key, n in seen.items() if key[0] == task})
        both.update({key[1:]: n for key, n in later.items() if key[0] == ours})
        counts = sorted([*both.values(), *[0] * SIZES[task]])[-SIZES[task] :]
        assert counts[-1] - counts[0] <= 1 + -(-64 // SIZES[task])
    state = json.loads(json.dumps(new.get_state()))
    again = batches_of((0.3, 0.5, 0.2), tasks=[*tasks])
    again.set_state(state)
    assert_equal(take(again, 3), take(new, 3))


@pytest.mark.parametrize("hosts", [1, 2, 4, 8])
def test_a_hundred_random_seeks_find_each_host_its_part(batches_of, hosts):
    whole = take(batches_of(), 150)
    generator = np.random.default_rng(hosts)
    parts = [batches_of(process_index=i, process_count=hosts) for i in range(hosts)]
    for step in generator.integers(0, 150, 100).tolist():
        host = int(generator.integers(hosts))
        parts[host].seek(step)
        rows = slice(host * 8 // hosts, (host + 1) * 8 // hosts)
        assert_equal(take(parts[host], 1), [{name: array[rows] for name, array in whole[step].items()}])


@pytest.mark.parametrize(("small", "copied"), [(0, 0), (10**9, 10**9), (1500, 10**9), (10**9, 900)])
def test_what_is_copied_together_changes_nothing(batches_of, monkeypatch, small, copied):
    large_first = batches_of.tasks[::-1]
    whole = take(batches_of(tasks=large_first), 20)
    monkeypatch.setattr(token_table, "_SMALL_BYTES", small)
    monkeypatch.setattr(token_table, "_COPIED_BYTES", copied)
    assert_equal(take(batches_of(tasks=large_first), 20), whole)


@pytest.mark.parametrize("pack", [True, False])
def test_the_examples_of_a_batch_are_known_by_its_step(batches_of, pack):
    """On every host those of the global batch, also once other batches were drawn; not those of earlier weights."""
    batches, part = batches_of(pack=pack), batches_of(pack=pack, process_index=1, process_count=2)
    drawn = take(batches, 5)
    for step in (2, 5):
        listed = batches.examples(step)
        assert listed == part.examples(step)
        tasks = {task.name: (number, task) for number, task in enumerate(batches_of.tasks)}
        found = [
            (
                tasks[name][0],
                tuple(tasks[name][1].inputs(index).tolist()),
                tuple(tasks[name][1].targets(index).tolist()),
            )
            for _, name, index in listed
        ]
        assert found == list(examples_in([drawn[step - 1]]))
        assert [row for row, _, _ in listed] == sorted(row for row, _, _ in listed)
    batches.set_weights((1, 1, 1))
    with pytest.raises(UserError, match="batch of step 5 was drawn by other weights than those since step 5"):
        batches.examples(5)
    (batch,) = take(batches, 1)
    assert len(batches.examples(6)) == len(list(examples_in([batch])))
