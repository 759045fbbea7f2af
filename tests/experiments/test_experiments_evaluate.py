"""From suites to what is measured."""

from flan_jax.data.prepare import prepare
from flan_jax.data.tokenizers import ByteVocabulary
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.evaluate import eval_suites
from flan_jax.experiments.setup import Data
from flan_jax.feed.store import TokenStore
from flan_jax.mixing.mixture import Entry, Mixture, Suite
from flan_jax.models.config import T5Config
from flan_jax.tasks.spec import Prompted
from flan_jax.testing.tasks import COPY, PARITY
from flan_jax.train.optimizer import OptimizerConfig

LENGTHS = {"inputs": 128, "targets": 32}


def test_a_task_measured_on_two_splits_has_two_names(tmp_path):
    parity, copy = Prompted(PARITY), Prompted(COPY)
    suites = (Suite("seen", (parity,), split="train"), Suite("unseen", (parity, copy)))
    mixture = Mixture("m", (Entry(parity), Entry(copy)), suites=suites)
    store, vocabulary = TokenStore(tmp_path / "store"), ByteVocabulary()
    wanted = [(parity, ["train", "test"]), (copy, ["test"])]
    prepare(wanted, store=store, vocabulary=vocabulary, lengths=LENGTHS)
    config = RunConfig(str(tmp_path / "run"), "m", LENGTHS, T5Config(384, 8, 4, 2, 8, 1, 1), OptimizerConfig(), 1, 8)

    def names(chosen):
        data = Data(mixture, vocabulary, store, (), {}, {}, chosen)
        return {suite: [task.name for task in tasks] for suite, tasks in eval_suites(data, config).items()}

    both = {"seen": [f"{parity.name}_train"], "unseen": [f"{parity.name}_test", copy.name]}
    assert names(suites) == both
    assert names(suites[1:]) == {"unseen": both["unseen"]}  # whichever of them a run measures
