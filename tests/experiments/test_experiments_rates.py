"""A mixture's rates from its sources, and from a store: what the table promises is what a run draws."""

import dataclasses

import numpy as np
import pytest

from flan_jax.data.prepare.config import PrepareConfig, TokenizeConfig
from flan_jax.data.prepare.prepare import prepare
from flan_jax.data.tokenizers.bytes import ByteVocabulary
from flan_jax.errors import UserError
from flan_jax.experiments.rates import count_records, mixture_rates
from flan_jax.feed.sampler import MixtureSampler
from flan_jax.mixing.mixture import Entry, Mixture
from flan_jax.mixing.policies import Equal, Proportional
from flan_jax.store.store import StoredTask, TokenStore
from flan_jax.tasks.spec import Prompted, PromptMode
from flan_jax.tasks.task import BaseTask
from flan_jax.testing.tasks import COPY, PARITY, VOWEL

LENGTHS = {"inputs": 128, "targets": 32}


def mixture(**options) -> Mixture:
    """Parity nested with the vowels, copying beside them; parity's second view is left out."""
    inner = Mixture("inner", (Entry(Prompted(PARITY)), Entry(Prompted(VOWEL), 100.0)))
    entries = (
        Entry(Prompted(PARITY, PromptMode.ZS_NOOPT), 0),
        Entry(Prompted(COPY)),
        Entry(inner, 3.0),
    )
    return Mixture("m", entries, **{"policy": Equal(), **options})


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("rates") / "store"
    tasks = [(task, ["train"]) for task in mixture().drawn_tasks]
    prepare(tasks, PrepareConfig(ByteVocabulary(), TokenizeConfig(LENGTHS)), store=TokenStore(path))
    return str(path)


def test_sources_are_counted_once_each():
    read = []

    @dataclasses.dataclass(frozen=True)
    class Counted:
        splits = ("train",)

        def records(self, split):
            read.append(split)
            return iter([{"number": 1, "answer": "odd"}] * 12)

        def fingerprint(self, split):
            return "0"

        def describe(self):
            return "twelve records"

    spec = dataclasses.replace(PARITY, source=Counted())
    views = (Entry(Prompted(spec)), Entry(Prompted(spec, PromptMode.ZS_NOOPT)), Entry(Prompted(spec, variant="x"), 0))
    table = mixture_rates(Mixture("m", views), draws=48)
    assert [(row.examples, row.share, row.epochs, row.draws) for row in table.rows] == [
        (12, 0.5, 2, None),
        (12, 0.5, 2, None),
        (None, 0, 0, None),
    ]
    assert read == ["train"]


def test_lengths_come_from_manifests_only(store, monkeypatch):
    monkeypatch.setattr(StoredTask, "tokens", property(lambda self: pytest.fail("token files must not be opened")))
    rows = {row.task: row for row in mixture_rates(mixture(), store=store).rows}
    monkeypatch.undo()
    assert rows["toy_parity_zs_noopt"].examples is None
    for name in ("toy_copy_zs_opt", "toy_parity_zs_opt", "toy_vowel_zs_opt"):
        stored = TokenStore(store).open(name, "train")
        assert rows[name].examples == len(stored) == 64
        assert rows[name].mean_tokens == pytest.approx((stored.input_lengths + stored.target_lengths).mean())


@pytest.mark.parametrize("unit", ["examples", "tokens", "epochs"])
@pytest.mark.parametrize(("draws", "seed"), [(1, 0), (1000, 3), (12_345, 7)])
def test_realised_counts_are_those_of_a_run(store, unit, draws, seed):
    table = mixture_rates(mixture(unit=unit), draws=draws, store=store, seed=seed)
    drawn = [row for row in table.rows if row.share > 0]
    # Drawn for real, as a run draws: the tasks with a weight, in the mixture's order.
    names = [row.task for row in drawn]
    sampler = MixtureSampler([row.examples for row in drawn], [row.share for row in drawn], seed, names=names)
    counts = np.bincount(sampler.draws(0, draws).task, minlength=len(drawn))
    assert [row.draws for row in drawn] == counts.tolist()
    assert table.total.draws == draws
    # Within two draws of what was asked: a sampler keeps its shares.
    assert all(abs(row.draws - draws * row.share) <= 2 + draws % 4096 * row.share for row in drawn)
    assert table.rows[0].draws == 0


def test_the_unit_is_what_comes_out_even(store):
    equal = (Entry(Prompted(PARITY)), Entry(Prompted(COPY)))
    rows = mixture_rates(Mixture("m", equal, Equal(), unit="tokens"), store=store).rows
    assert [row.token_share for row in rows] == pytest.approx([0.5, 0.5])
    assert rows[0].share != pytest.approx(0.5, abs=0.01)
    with pytest.raises(UserError, match=r"counts its rates in tokens.*name the store"):
        mixture_rates(Mixture("m", equal, Equal(), unit="tokens"))


def test_a_task_prepared_in_two_ways_is_refused(tmp_path):
    task = Prompted(PARITY)
    for length in (64, 128):
        lengths = {"inputs": length, "targets": 32}
        prepare(
            [(task, ["train"])], PrepareConfig(ByteVocabulary(), TokenizeConfig(lengths)), store=TokenStore(tmp_path)
        )
    with pytest.raises(UserError, match=r"prepared in 2 ways"):
        mixture_rates(Mixture("m", (Entry(task),)), store=str(tmp_path))


def test_a_task_that_is_not_prepared_is_refused(store):
    with pytest.raises(UserError, match=r"'toy_parity_zs_noopt'.*is not in the store.*flan-jax prepare"):
        mixture_rates(Mixture("m", (Entry(Prompted(PARITY, PromptMode.ZS_NOOPT)),)), store=store)


@dataclasses.dataclass(frozen=True)
class Foreign(BaseTask):
    """A task of which only a store knows the examples."""

    name: str = "theirs"
    cluster: str = "any"
    splits: tuple[str, ...] = ("train",)


def test_what_cannot_be_counted_must_be_prepared():
    with pytest.raises(UserError, match=r"'theirs' are known only when it is prepared.*--store"):
        mixture_rates(Mixture("m", (Entry(Foreign()),), Proportional()))
    held_out = dataclasses.replace(PARITY, source=dataclasses.replace(PARITY.source, splits=("test",)))
    with pytest.raises(UserError, match="has no split 'train', only test"):
        count_records(Prompted(held_out))


@pytest.mark.parametrize("draws", [-1, 10**14])
def test_no_such_number_of_draws(draws):
    with pytest.raises(UserError, match="draws cannot be described"):
        mixture_rates(mixture(), draws=draws)
