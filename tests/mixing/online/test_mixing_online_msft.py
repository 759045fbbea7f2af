"""mSFT's roll-outs on validation losses whose peaks are known."""

import numpy as np

from flan_jax.mixing.online.msft import MultiTaskSFT

PRIOR = np.array([0.5, 0.3, 0.2])


def followed(losses_at, rollouts, *, rollout=4, period=10):
    """Trains a model whose only weight is how far it has been trained; returns what the method did, step by step."""
    method, trained, states, events = MultiTaskSFT(period=period, rollout=rollout), 0, {}, []
    method.begin(PRIOR)
    for step in range(period, rollouts * rollout * period + 1, period):
        trained += period
        resumed = MultiTaskSFT(period=period, rollout=rollout)
        resumed.begin(PRIOR)
        resumed.restore(method.state())
        weights = method.update(np.array(losses_at(trained)), step)
        assert resumed.update(np.array(losses_at(trained)), step).tolist() == weights.tolist()
        assert resumed.state() == method.state()
        if method.rollback is not None:
            trained = states[method.rollback]
            events.append((step, method.rollback, weights.tolist()))
        states[step] = trained
        if method.finished:
            break
    return method, trained, events


def test_units_are_left_out_in_the_order_in_which_they_overfit():
    """Unit 0 is best after 30 steps of training, unit 2 after 50, unit 1 after 80."""
    best = np.array([30, 80, 50])
    method, trained, events = followed(lambda trained: (trained - best) ** 2 / 100, rollouts=9)
    # 40 steps, back by 10 to the 30 that unit 0 is best at; 40 more, back to unit 2's; unit 1's are not yet reached at
    # the end of the next roll-out, and passed in the one behind that: its best one is the first measured again.
    assert events[0] == (40, 30, [0.0, 0.3, 0.2])
    assert events[1] == (80, 60, [0.0, 0.3, 0.0])
    assert [step for step, _, _ in events] == [40, 80, 120]
    assert trained == 80
    assert method.finished


def test_while_no_unit_overfits_all_go_on():
    method, trained, events = followed(lambda trained: [1 / trained, 2 / trained, 3 / trained], rollouts=3)
    assert events == []
    assert trained == 120
    assert not method.finished


def test_of_units_of_one_peak_the_one_whose_loss_rose_most_is_left_out():
    _, _, events = followed(lambda trained: [trained, 3 * trained, 2 * trained], rollouts=1)
    assert events == [(40, 10, [0.5, 0.0, 0.2])]
