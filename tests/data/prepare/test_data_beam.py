"""Preparing as a Beam pipeline: the same bytes, damaged splits, and errors of workers."""

import sys

import pytest
from prepare_toys import contents, records, write_lines, yes_or_no

from flan_jax.data.prepare.beam import prepare_with_beam
from flan_jax.data.prepare.config import PrepareConfig, TokenizeConfig
from flan_jax.data.prepare.prepare import prepare
from flan_jax.data.tokenizers.bytes import ByteVocabulary
from flan_jax.errors import UserError
from flan_jax.store.store import TokenStore
from flan_jax.tasks.spec import Prompted
from flan_jax.testing.tasks import COPY, PARITY

BYTES = ByteVocabulary()


@pytest.fixture
def store(tmp_path):
    return TokenStore(tmp_path / "store")


@pytest.fixture
def beam():
    return pytest.importorskip("apache_beam")


@pytest.mark.usefixtures("beam")
def test_a_pipeline_stores_the_same_bytes(tmp_path, store):
    holes = yes_or_no("a", write_lines(tmp_path / "a.jsonl", [b"{", *records(20)]))
    tasks = [(Prompted(PARITY), ("train", "test")), (Prompted(COPY), ("train",)), (holes, ("train",))]
    config = PrepareConfig(BYTES, TokenizeConfig({"inputs": 32, "targets": 8}, on_error="skip"), seed=3)
    alone = TokenStore(tmp_path / "alone")
    expected = prepare(tasks, config, store=alone)
    told = []
    report = prepare_with_beam(tasks, config, store=store, progress=lambda *args: told.append(args[:2]))
    assert contents(store) == contents(alone)
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    counts = ("written", "skipped", "examples", "tokens", "truncated_inputs", "unreadable")
    assert [getattr(report, count) for count in counts] == [getattr(expected, count) for count in counts]
    assert all(split.seconds is None for split in report.splits)
    again = prepare_with_beam(tasks, config, store=store)
    assert (again.written, again.skipped) == (0, 4)


@pytest.mark.usefixtures("beam")
def test_what_is_damaged_is_prepared_again(tmp_path, store):
    tasks = [(Prompted(PARITY), ("train", "test"))]
    prepare(tasks, PrepareConfig(BYTES), store=store)
    before = contents(store)
    arrow = next(file for file in store.path.rglob("*.arrow") if file.parent.parent.name == "test")
    arrow.write_bytes(arrow.read_bytes().replace(b"\x04", b"\x05"))
    report = prepare_with_beam(tasks, PrepareConfig(BYTES), store=store, verify=True)
    assert [split.split for split in report.splits if split.damaged] == ["test"]
    assert contents(store) == before


@pytest.mark.usefixtures("beam")
def test_a_bad_record_is_one_sentence_and_stops_no_other_split(tmp_path, store):
    bad = [yes_or_no(name, write_lines(tmp_path / f"{name}.jsonl", [*records(2), b"{"])) for name in "ab"]
    tasks = [(task, ["train"]) for task in (*bad, Prompted(PARITY))]
    with pytest.raises(UserError, match=r"^\S*a\.jsonl, line 3: not valid JSON .*\(1 more of 3 splits could not"):
        prepare_with_beam(tasks, PrepareConfig(BYTES), store=store)
    assert {name.partition("/")[0] for name in contents(store)} == {"toy_parity_zs_opt"}


@pytest.mark.usefixtures("beam")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"runner": "DirctRunner"}, r"Unknown Beam runner 'DirctRunner'. Did you mean 'DirectRunner'"),
        (
            {"options": ["direct_num_worker=2"]},
            r"Unknown option .*'direct_num_worker'. Did you mean 'direct_num_workers'",
        ),
    ],
)
def test_unknown_runners_and_options_are_refused(store, arguments, message):
    with pytest.raises(UserError, match=message):
        prepare_with_beam([(Prompted(PARITY), ["train"])], PrepareConfig(BYTES), store=store, **arguments)
    assert store.tasks() == ()


def test_without_beam_the_way_to_it_is_named(store, monkeypatch):
    for module in [name for name in sys.modules if name.partition(".")[0] == "apache_beam"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(UserError, match=r"pip install 'flan-jax\[beam\]'"):
        prepare_with_beam([(Prompted(PARITY), ["train"])], PrepareConfig(BYTES), store=store)
