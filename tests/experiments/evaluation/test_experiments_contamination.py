"""A run that trains on what it holds out is refused before it begins, unless it was asked to go on."""

import dataclasses
import json
from pathlib import Path

import pytest

from flan_jax.data.sources.json_files import jsonl
from flan_jax.errors import UserError
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.evaluation import contamination
from flan_jax.experiments.evaluation.contamination import check_contamination, seen_tasks, unseen_tasks
from flan_jax.experiments.evaluation_hook import EvaluationHook
from flan_jax.experiments.options import CheckpointConfig, EvalConfig
from flan_jax.experiments.train import train
from flan_jax.mixing.mixture import MIXTURES, Entry, Mixture, Suite, register_mixture
from flan_jax.models.t5.config import T5Config
from flan_jax.tasks.spec import Prompted, PromptMode, TaskSpec, Template
from flan_jax.testing.tasks import COPY, PARITY
from flan_jax.train.optimizer import OptimizerConfig

NAME = "audited_toys"
_declared: list[Mixture] = []
HELD = [
    {"text": f"the cat number {n} sat on the old red mat by the door of house {n}", "answer": ("yes", "no")[n % 2]}
    for n in range(10)
]


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def sitting(path):
    source = jsonl(test=path)
    return TaskSpec(
        name="sitting", cluster="animals", source=source, fields=dict, slots=("text", "answer"), options=("yes", "no"),
        templates=(Template("Did it sit? {text}"),),
    )  # fmt: skip


def told(path):
    return TaskSpec(
        name="told", cluster="stories", source=jsonl(train=path), slots=("story", "answer"), predict="generate",
        fields=lambda record: {"story": record["tale"], "answer": record["end"]}, templates=(Template("{story}"),),
        metric="exact_match",
    )  # fmt: skip


@pytest.fixture
def files(tmp_path):
    write(tmp_path / "held.jsonl", HELD)
    tales = [
        {"tale": f"once a dog of {n} years ran all the way up the long green hill", "end": "home"} for n in range(8)
    ]
    write(tmp_path / "train.jsonl", tales)
    return tmp_path


def plant(files, *places):
    """The held-out records of these places among the training data, written otherwise."""
    lines = (files / "train.jsonl").read_text(encoding="utf-8").splitlines()
    planted = [json.dumps({"tale": HELD[n]["text"].title().replace(" ", "  "), "end": "sat"}) for n in places]
    (files / "train.jsonl").write_text("\n".join([*lines[:3], *planted, *lines[3:]]) + "\n", encoding="utf-8")


@pytest.fixture
def config(files) -> RunConfig:
    if NAME not in MIXTURES:
        register_mixture(NAME, lambda: _declared[0])
    suite = Suite("held_out", (Prompted(sitting(files / "held.jsonl")),), held_out=True)
    entries = (Entry(Prompted(told(files / "train.jsonl"))), Entry(Prompted(PARITY)))
    _declared[:] = [Mixture(NAME, entries, vocabulary="bytes", suites=(suite,))]
    return RunConfig.from_options(
        model_dir=str(files / "run"), mixture=NAME, lengths={"inputs": 64, "targets": 32},
        model=T5Config(
            vocab_size=384, d_model=8, d_kv=4, num_heads=2, d_ff=8, num_encoder_layers=1, num_decoder_layers=1
        ),
        optimizer=OptimizerConfig(name="adamw", learning_rate=1e-3), steps=1, batch_size=8, log_period=1,
        store=str(files / "store"), checkpoint=CheckpointConfig(period=1, keep=1), evaluation=EvalConfig(max_examples=2),
    )  # fmt: skip


def check(config, said=None):
    mixture = _declared[0]
    found = check_contamination(config, mixture, mixture.suites, log=(said if said is not None else []).append)
    return found and json.loads(json.dumps(found))


def kept(config):
    return json.loads((Path(config.model_dir) / contamination.AUDIT).read_text(encoding="utf-8"))


@pytest.fixture
def counted(monkeypatch):
    """How often records were compared."""
    calls = []
    compare = contamination.audit
    monkeypatch.setattr(contamination, "audit", lambda *tasks, **more: calls.append(1) or compare(*tasks, **more))
    return calls


def test_a_run_on_what_it_holds_out_is_refused_before_its_folder_exists(config, files):
    plant(files, 4)
    with pytest.raises(UserError) as error:
        train(config)
    message = str(error.value)
    assert message.startswith("This run would be contaminated: 1 of 10 records of the held-out task 'sitting'")
    assert f"{files / 'train.jsonl'}, line 4: 'the cat number 4 sat" in message
    assert "--gin.run.audit_tolerance" in message
    assert "--gin.run.audit=warn" in message
    assert not Path(config.model_dir).exists()


def test_a_clean_run_says_so_and_an_audit_is_made_again_only_where_something_changed(
    config, files, counted, monkeypatch
):
    monkeypatch.setattr(EvaluationHook, "measure", lambda *_: None)  # what it would find takes seconds and matters not
    said = []
    assert train(config.with_options(steps=0), log=said.append).step == 0
    first = kept(config)
    assert (first["sources"], first["records"], first["held_out_records"]) == ([], [], 10)
    assert first["trained_records"] == 8 + 64
    assert "comparing what is measured with what is trained on (1 with 2 tasks)" in said
    assert check(config) == first
    assert check(config.with_options(audit_tolerance=0.5, steps=9)) == first
    assert check(config.with_options(model_dir=str(files / "other_weights"))) == first
    assert len(counted) == 1
    plant(files, 1)
    with pytest.raises(UserError, match="1 of 10 records"):
        check(config)
    assert len(counted) == 2
    # A kept result decides as a fresh one does.
    found = check(config.with_options(audit_tolerance=0.1))
    (Path(config.model_dir) / contamination.AUDIT).write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(UserError, match=r"train\.jsonl, line 4"):
        check(config)
    assert len(counted) == 3
    for broken in ("", "{}", "[]", "null", json.dumps({**found, "records": [{"held_out": "x"}]})):
        (Path(config.model_dir) / contamination.AUDIT).write_text(broken, encoding="utf-8")
        assert check(config.with_options(audit="warn")) == found
    assert len(counted) == 8


def test_a_share_of_such_records_may_be_allowed(config, files):
    plant(files, 1, 2, 3)
    assert check(config.with_options(audit_tolerance=0.3))["records"][0]["records"] == 3
    with pytest.raises(UserError, match="3 of 10 records"):
        check(config.with_options(audit_tolerance=0.29))


def test_a_run_may_be_told_to_go_on_or_not_to_look(config, files, counted):
    plant(files, 1)
    said = []
    found = check(config.with_options(audit="warn"), said)
    assert found["records"][0]["records"] == 1
    assert said[-1].startswith("warning: this run is contaminated: 1 of 10 records")
    assert len(counted) == 1
    assert check(config.with_options(audit="off")) is None
    assert len(counted) == 1


@dataclasses.dataclass(frozen=True)
class MadeFrom:
    """A file that says which data set it is made from."""

    path: Path
    name: str
    splits: tuple = ("train", "test")

    def origins(self):
        return {self.name}

    def records(self, split):
        return jsonl(train=self.path, test=self.path).records(split)

    def fingerprint(self, split):
        return "fixed"

    def describe(self):
        return self.name


def test_a_shared_data_set_is_refused_by_name(config, files):
    held = dataclasses.replace(sitting(files / "held.jsonl"), source=MadeFrom(files / "held.jsonl", "tales"))
    trained = dataclasses.replace(told(files / "train.jsonl"), source=MadeFrom(files / "train.jsonl", "tales"))
    suite = Suite("held_out", (Prompted(held),), held_out=True)
    mixture = Mixture(NAME, (Entry(Prompted(trained)), Entry(Prompted(COPY))), suites=(suite,))
    with pytest.raises(UserError, match="task 'sitting' and the trained task 'told' are both made from 'tales'"):
        check_contamination(config.with_options(audit_tolerance=1.0), mixture, mixture.suites)
    # What is in the mixture and left out of training by its rate harms nobody.
    asleep = dataclasses.replace(mixture, entries=(Entry(Prompted(trained), 0), Entry(Prompted(COPY))))
    assert check_contamination(config, asleep, asleep.suites)["sources"] == ()


def test_what_is_measured_and_not_trained_on_is_what_is_compared(config):
    parity, copy = Prompted(PARITY), Prompted(COPY)
    other_mode = Prompted(PARITY, PromptMode.ZS_NOOPT)
    suites = (
        Suite("in", (other_mode, copy), split="validation"),
        Suite("out", (copy,)),
        Suite("again", (Prompted(COPY, PromptMode.FS_OPT),)),
    )
    mixture = Mixture("m", (Entry(parity),), suites=suites)
    assert unseen_tasks(mixture) == [(copy, "validation"), (copy, "test")]
    assert unseen_tasks(mixture, suites[1:]) == [(copy, "test")]
    both = Mixture("m", (Entry(parity), Entry(copy)), suites=suites)
    assert unseen_tasks(both) == []
    assert seen_tasks(both) == [(other_mode, "validation"), (copy, "validation"), (copy, "test")]
    assert seen_tasks(mixture) == [(other_mode, "validation")]
    assert check_contamination(config, both, both.suites)["worlds"] == ("toy_parity", "toy_copy")
    assert check_contamination(config, mixture, ()) is None


def test_what_is_measured_of_a_trained_task_is_compared_too(config, files):
    lines = (files / "train.jsonl").read_text(encoding="utf-8").splitlines()

    def mixture(copies):
        (files / "own_test.jsonl").write_text("\n".join(lines[:copies] + NEW) + "\n", encoding="utf-8")
        spec = told(files / "train.jsonl")
        spec = dataclasses.replace(
            spec,
            source=jsonl(
                train=files / "train.jsonl", test=files / "own_test.jsonl", validation=files / "own_test.jsonl"
            ),
        )
        return Mixture(NAME, (Entry(Prompted(spec)),), suites=(Suite("own", (Prompted(spec),)),))

    NEW = [json.dumps({"tale": f"A tale of {n} new lanterns on a hill", "end": "none"}) for n in range(9)]
    said = []
    few = mixture(1)
    assert check_contamination(config, few, few.suites, log=said.append)["held_in"][0]["records"] == 1
    assert said[-1].startswith("warning: 1 measured records of tasks that are trained on are also training records")
    many = mixture(2)
    with pytest.raises(
        UserError, match=r"2 of 11 records that task 'told' is measured on are among those that 'told' is"
    ):
        check_contamination(config, many, many.suites)
    check_contamination(config.with_options(audit_tolerance=0.2), many, many.suites)
