import functools
import json
import sys
import types

import pytest

from flan_jax.data.file_readers.records import numbered_records
from flan_jax.data.sources import base as sources
from flan_jax.data.sources.base import FromDataFolder
from flan_jax.data.sources.generated import generated
from flan_jax.data.sources.hub import hf
from flan_jax.data.sources.json_files import jsonl
from flan_jax.errors import UserError
from flan_jax.tasks.spec import Source
from flan_jax.testing.records import good_records


def numbers(split, size=3):
    return [{"n": i, "split": split} for i in range(size)]


def test_a_generated_source_calls_its_function():
    source = generated("numbers", numbers, version=1)
    assert isinstance(source, Source)
    assert source.splits == ("train", "validation", "test")
    assert list(source.records("test"))[2] == {"n": 2, "split": "test"}
    assert list(source.records("test")) == list(source.records("test"))


def test_a_generated_fingerprint_holds_name_version_split_and_parameters():
    def print_of(name="numbers", version=1, split="train", make=numbers):
        return generated(name, make, version).fingerprint(split)

    prints = {
        print_of(),
        print_of(name="other"),
        print_of(version=2),
        print_of(split="test"),
        print_of(make=functools.partial(numbers, size=4)),
        print_of(make=functools.partial(numbers, size=5)),
    }
    assert len(prints) == 6
    assert print_of(make=functools.partial(numbers, size=4)) == print_of(make=functools.partial(numbers, size=4))


def test_an_unknown_split_is_named():
    source = generated("numbers", numbers, version=1, splits=("train", "test"))
    with pytest.raises(
        UserError, match=r"generated 'numbers' \(version 1\) has no split 'validation'. It has: train, test"
    ):
        list(source.records("validation"))
    with pytest.raises(UserError, match=r"splits \['dev'\] must be"):
        generated("numbers", numbers, version=1, splits=("dev",))


def write(path, lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_json_lines_and_lists(tmp_path):
    write(tmp_path / "a.jsonl", ['{"x": 1}', "", '{"x": "é"}'])
    (tmp_path / "b.json").write_text(json.dumps([{"x": 3}]))
    sources.set_data_dir(tmp_path)
    source = jsonl(train="a.jsonl", test=tmp_path / "b.json")
    assert source.splits == ("train", "test")
    assert list(source.records("train")) == [{"x": 1}, {"x": "é"}]
    assert list(source.records("test")) == [{"x": 3}]


def test_building_a_source_reads_nothing(tmp_path):
    source = jsonl(train=tmp_path / "nowhere.jsonl")
    assert "nowhere" in source.describe()


@pytest.mark.parametrize("chosen", [True, False])
def test_the_data_folder_is_chosen_or_from_the_environment(tmp_path, monkeypatch, chosen):
    write(tmp_path / "a.jsonl", ['{"x": 1}'])
    source = jsonl(train="a.jsonl")
    if chosen:
        monkeypatch.setenv(sources.DATA_DIR_VARIABLE, "somewhere/else")
        sources.set_data_dir(tmp_path)
    else:
        monkeypatch.setenv(sources.DATA_DIR_VARIABLE, str(tmp_path))
    assert list(source.records("train")) == [{"x": 1}]


def test_missing_data_says_where_and_what_to_set(tmp_path):
    sources.set_data_dir(tmp_path / "no_folder")
    source = jsonl(train="a.jsonl")
    for read in (lambda: list(source.records("train")), lambda: source.fingerprint("train")):
        with pytest.raises(UserError, match=r"files train=a\.jsonl: .*no_folder.*DATA_DIR.*FLAN_JAX_DATA_DIR"):
            read()


def test_a_byte_order_mark_is_no_content(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"x": 1}\r\n{"x": 2}\r\n')
    assert list(jsonl(train=path).records("train")) == [{"x": 1}, {"x": 2}]


@pytest.mark.parametrize(
    ("line", "message"),
    [('{"x": ', "line 2: not valid JSON"), ("[1]", "line 2: a record must be a JSON object, not list")],
)
def test_a_broken_line_is_named(tmp_path, line, message):
    path = write(tmp_path / "a.jsonl", ['{"x": 1}', line])
    with pytest.raises(UserError, match=message) as error:
        list(jsonl(train=path).records("train"))
    assert str(path) in str(error.value)


def test_a_broken_list_is_named(tmp_path):
    path = tmp_path / "a.json"
    for content, message in (
        ('[{"x": 1}, 2]', "record 1: a record"),
        ('{"x": 1}', "holds dict, not a list"),
        ("[\n{]", "line 2: not valid"),
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=message):
            list(jsonl(train=path).records("train"))


def test_a_file_that_is_not_utf8_is_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"x": "é"}\n'.encode("latin-1"))
    with pytest.raises(UserError, match=r"a\.jsonl, line 1: not UTF-8"):
        list(jsonl(train=path).records("train"))


def test_files_that_were_joined_with_their_marks_of_byte_order_are_read_alike(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('\ufeff{"x": 1}\r\n\ufeff{"x": "\ufeff"}\n')
    wanted = [{"x": 1}, {"x": "\ufeff"}]
    assert list(jsonl(train=path).records("train")) == wanted
    assert [record for _, record in numbered_records(path)] == wanted


def test_a_file_fingerprint_is_of_content(tmp_path):
    one, same = write(tmp_path / "a.jsonl", ['{"x": 1}']), write(tmp_path / "b.jsonl", ['{"x": 1}'])
    before = jsonl(train=one).fingerprint("train")
    assert jsonl(train=same).fingerprint("train") == before
    write(one, ['{"x": 1}', '{"x": 2}'])
    assert jsonl(train=one).fingerprint("train") != before


def test_no_file_at_all_is_refused():
    with pytest.raises(UserError, match="splits"):
        jsonl()


def test_the_hub_needs_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    source = hf("some/set", "config", revision="abc", train="train[:10]")
    assert source.splits == ("train",)
    assert source.describe() == "Hugging Face data set 'some/set' (config)@abc"
    with pytest.raises(UserError, match=r"some/set.*pip install datasets"):
        list(source.records("train"))


def test_the_hub_is_asked_for_exactly_what_was_named(monkeypatch):
    asked = []

    def load_dataset(*args, **kwargs):
        asked.append((args, kwargs))
        if kwargs["split"] == "broken":
            raise ValueError("Unknown split")
        return [{"x": 1}]

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    source = hf("some/set", "config", revision="abc", train="train[:10]", test="broken")
    assert list(source.records("train")) == [{"x": 1}]
    assert asked == [(("some/set",), {"name": "config", "split": "train[:10]", "revision": "abc"})]
    with pytest.raises(UserError, match=r"some/set.*'broken'.*Unknown split"):
        list(source.records("test"))
    # Where the hub converted a script, its configurations are folders.
    list(hf("some/set", "config", revision="refs/convert/parquet", train="train").records("train"))
    assert asked[-1][1] == {"data_dir": "config", "split": "train", "revision": "refs/convert/parquet"}


@pytest.fixture
def offline_datasets(monkeypatch, tmp_path):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    return datasets


def test_a_data_set_whose_splits_have_other_names_is_read_by_them(offline_datasets, tmp_path, caplog):
    (tmp_path / "set").mkdir()
    for name in ("train_sft", "train_gen", "test_sft"):
        (tmp_path / f"set/{name}.jsonl").write_text(f'{{"x": "{name}"}}\n')
    lines = [f"  - split: {name}\n    path: {name}.jsonl" for name in ("train_sft", "train_gen", "test_sft")]
    card = tmp_path / "set/README.md"
    card.write_text("---\nconfigs:\n- config_name: default\n  data_files:\n" + "\n".join(lines) + "\n---\n")
    source = hf(str(tmp_path / "set"), train="train")
    assert [record["x"] for record in source.records("train")] == ["train_sft", "train_gen"]
    assert "has no split 'train': read is train_sft+train_gen, not used: test_sft" in caplog.text
    card.write_text("---\nconfigs:\n- config_name: default\n  data_files:\n" + lines[2] + "\n---\n")
    with pytest.raises(UserError, match=r"no split 'train', and no name of those that it has \(test_sft\)"):
        list(source.records("train"))


def test_the_hub_fingerprint_needs_no_network():
    prints = {
        hf("a", revision=revision, train=part).fingerprint("train") for revision in (None, "r") for part in ("x", "y")
    }
    assert len(prints) == 4


def test_a_factory_over_the_data_folder_takes_overrides():
    factory = FromDataFolder(dict, (("a", 1), ("b", 2)))
    assert factory(b=3) == {"a": 1, "b": 3}
    assert factory == FromDataFolder(dict, (("a", 1), ("b", 2)))


def test_unreadable_records_are_told_of_in_their_place(tmp_path):
    lines = [b'{"x": 1}', b"{", b"", b'{"x": "\xe9"}', b'{"x": 2}', b"3"]
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\r\n".join(lines))
    told = []
    source = jsonl(train=path)
    seen = [(len(told), record["x"]) for record in good_records(source, "train", told)]
    assert seen == [(0, 1), (2, 2)]
    assert [str(error).split(":")[0].split(" is")[0] for error in told] == [
        f"{path}, line {line}" for line in (2, 4, 6)
    ]
    assert "column 2" in str(told[0])  # of the line without its end
    assert [source.place("train", index) for index in range(5)] == [f"{path}, line {line}" for line in (1, 2, 4, 5, 6)]


class Rows:
    """What ``datasets`` gives: an iterator that fails is at its end."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def select(self, indices):
        return Rows([self.rows[i] for i in indices])

    def __iter__(self):
        for row in self.rows:
            if row is None:
                raise OSError("cannot decode\nthis image")
            yield row


@pytest.mark.parametrize("bad", [(1,), (0, 1), (2, 4), (4,), ()])
def test_rows_of_the_hub_that_cannot_be_decoded_are_told_of(monkeypatch, bad):
    rows = Rows([None if i in bad else {"x": i} for i in range(5)])
    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=lambda *args, **kwargs: rows))
    source = hf("some/set", train="train")
    told = []
    assert [record["x"] for record in good_records(source, "train", told)] == [i for i in range(5) if i not in bad]
    where = "Hugging Face data set 'some/set', split 'train'"
    assert [str(error) for error in told] == [
        f"{where}, record {i}: cannot be decoded (OSError: cannot decode)." for i in bad
    ]
    if bad:
        with pytest.raises(UserError, match=f"record {bad[0]}: cannot be decoded"):
            list(source.records("train"))


def test_real_data_sets_go_on_behind_a_bad_row(monkeypatch):
    datasets = pytest.importorskip("datasets")

    def decode(batch):
        if 3 in batch["x"]:
            raise ValueError("three")
        return batch

    rows = datasets.Dataset.from_dict({"x": list(range(6))}).with_transform(decode)
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: rows)
    told = []
    assert [record["x"] for record in good_records(hf("some/set", train="train"), "train", told)] == [0, 1, 2, 4, 5]
    assert ["record 3" in str(error) for error in told] == [True]


def test_sizes_are_known_where_files_are(tmp_path):
    path = write(tmp_path / "a.jsonl", ['{"x": 1}'])
    assert jsonl(train=path).size_hint("train") == path.stat().st_size
    assert generated("numbers", numbers, version=1).size_hint("train") == 0
