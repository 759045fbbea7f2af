"""A run's measured records, looked for in what it trains on."""

import dataclasses

import pytest

from flan_jax.data.decontamination.overlap import OverlapIndex
from flan_jax.data.prepare.config import PrepareConfig, TokenizeConfig
from flan_jax.data.prepare.prepare import prepare
from flan_jax.data.sources.generated import generated
from flan_jax.data.tokenizers.bytes import ByteVocabulary
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.data import RunData
from flan_jax.experiments.evaluate import eval_suites
from flan_jax.experiments.evaluation import overlap
from flan_jax.experiments.options import EvalConfig
from flan_jax.mixing.mixture import Entry, Mixture, Suite
from flan_jax.models.t5.config import T5Config
from flan_jax.store.store import TokenStore
from flan_jax.tasks.spec import Prompted, TaskSpec, Template
from flan_jax.train.optimizer import OptimizerConfig

LENGTHS = {"inputs": 200, "targets": 100}
TRAINED = ["seven grey geese went over the old mill", "a lamp was lit in every window of the house"]
MEASURED = [TRAINED[0], TRAINED[1].upper(), "nobody in the village had seen such a winter", "too short"]


def made(split):
    return [{"text": text} for text in (TRAINED if split == "train" else MEASURED)]


def fields(record):
    return {"text": record["text"], "answer": record["text"][:3]}


@pytest.fixture(autouse=True)
def nothing_found():
    """Every test is a process of its own, as far as searches go."""
    overlap._found.clear()


@pytest.fixture
def run(tmp_path):
    task = Prompted(
        TaskSpec(
            name="overlapping",
            cluster="copying",
            source=generated("overlapping", made, version=1, splits=("train", "test")),
            fields=fields,
            slots=("text", "answer"),
            metric="exact_match",
            predict="generate",
            templates=(Template("Say this again: {text}"), Template("{text}\n\nRepeat the words above.")),
        )
    )
    mixture = Mixture("m", (Entry(task),), suites=(Suite("seen", (task,), split="test"),))
    store, vocabulary = TokenStore(tmp_path / "store"), ByteVocabulary()
    prepare([(task, ["train", "test"])], PrepareConfig(vocabulary, TokenizeConfig(LENGTHS)), store=store)
    config = RunConfig.from_options(
        model_dir=str(tmp_path / "run"),
        mixture="m",
        lengths=LENGTHS,
        model=T5Config(384, 8, 4, 2, 8, 1, 1),
        optimizer=OptimizerConfig(),
        steps=1,
        batch_size=8,
    )
    trained = store.open(task.name, "train")
    return RunData(mixture, vocabulary, store, (trained,), {task.name: 1.0}, {}, mixture.suites), config


def labels(data, config, **options):
    ((task,),) = eval_suites(data, config, **options).values()
    return {MEASURED[example.example_id]: example.overlap for example in task.examples}


EXPECTED = dict(zip(MEASURED, ["exact", "normalized", "clean", "short"], strict=True))


def test_each_record_has_its_label_whatever_template_is_around_it(run):
    assert labels(*run) == EXPECTED


def test_nobody_looks_where_that_is_asked_for_or_nothing_is_known_to_be_trained_on(run):
    data, config = run
    unknown = dict.fromkeys(MEASURED, "")
    assert labels(data, config, overlap=False) == unknown
    off = dataclasses.replace(config, evaluation=EvalConfig(overlap_ngram=0))
    assert labels(data, off) == unknown
    assert labels(dataclasses.replace(data, train=()), config) == unknown


def test_the_search_is_made_once_for_a_run_and_again_for_other_settings(run, tmp_path, monkeypatch):
    data, config = run
    (tmp_path / "run").mkdir()
    scanned = []
    scan = OverlapIndex.scan
    monkeypatch.setattr(OverlapIndex, "scan", lambda self, texts: scanned.append(1) or scan(self, texts))
    assert labels(data, config) == labels(data, config) == EXPECTED
    assert len(scanned) == 1
    (tmp_path / "run" / "overlap.json").write_text("{", encoding="utf-8")
    overlap._found.clear()
    labels(data, config)
    labels(data, dataclasses.replace(config, evaluation=EvalConfig(overlap_ngram=5)))
    assert len(scanned) == 3


def test_runs_of_one_process_that_train_on_the_same_share_a_search(run, tmp_path, monkeypatch):
    data, config = run
    for name in ("run", "other", "third"):
        (tmp_path / name).mkdir()
    assert labels(data, config) == EXPECTED
    monkeypatch.setattr(OverlapIndex, "scan", lambda self, texts: pytest.fail("searched again"))
    other = dataclasses.replace(config, model_dir=str(tmp_path / "other"))
    assert labels(data, other) == EXPECTED
    assert (tmp_path / "other/overlap.json").read_bytes() == (tmp_path / "run/overlap.json").read_bytes()
    third = dataclasses.replace(other, model_dir=str(tmp_path / "third"), evaluation=EvalConfig(overlap_ngram=5))
    with pytest.raises(pytest.fail.Exception, match="searched again"):
        labels(data, third)


def test_other_ways_of_asking_do_not_drive_out_what_was_found(run, tmp_path, monkeypatch):
    data, config = run
    (tmp_path / "run").mkdir()
    scanned = []
    scan = OverlapIndex.scan
    monkeypatch.setattr(OverlapIndex, "scan", lambda self, texts: scanned.append(1) or scan(self, texts))
    fewer = dataclasses.replace(config, evaluation=EvalConfig(max_examples=2))
    assert labels(data, config) == EXPECTED
    assert labels(data, fewer) == dict(list(EXPECTED.items())[:2])
    assert labels(data, config) == EXPECTED
    assert labels(data, fewer) == dict(list(EXPECTED.items())[:2])
    assert len(scanned) == 2
    # Another name of the results is no other search.
    labels(data, dataclasses.replace(fewer, evaluation=EvalConfig(max_examples=2, label="_limit2")))
    assert len(scanned) == 2
