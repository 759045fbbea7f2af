"""MODEL_DIR as an address: trained, stopped, gone on with, measured, asked and exported from there, and refused in one sentence."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from memory_bucket import Kept, memory_bucket
from s3_server import s3_bucket
from small_mini import small_mini

from flan_jax.cli import gin_config
from flan_jax.errors import UserError
from flan_jax.experiments.run_folder.mirror import RunMirror
from flan_jax.experiments.run_folder.process_identity import this_process
from flan_jax.experiments.run_folder.staging import staging_folder
from flan_jax.train.hooks import read_metrics
from flan_jax.train.step_folders import step_folders

BINDINGS = {
    "MIXTURE_OR_TASK_NAME": "mini", "TASK_FEATURE_LENGTHS": "{'inputs': 64, 'targets': 16}", "BATCH_SIZE": 8, "LOG_PERIOD": 1,
    "CHECKPOINT_PERIOD": 2, "EvalConfig.suites": "()", "run.audit": "off", "T5Config.d_model": 16, "T5Config.num_heads": 2, "T5Config.d_ff": 16, "T5Config.num_encoder_layers": 1,
    "T5Config.num_decoder_layers": 1, "DROPOUT_RATE": 0.0,
}  # fmt: skip
ASKED = ("--gin.EvalConfig.suites=('held_in',)", "--gin.EvalConfig.max_examples=2", "--gin.EvalConfig.overlap_ngram=0")
FILES = ("--gin_file", "models/t5_tiny.gin", "--gin_file", "runs/finetune.gin")


def train(model_dir: object, steps: int, *more: str, **bindings: object) -> list[str]:
    given = {**BINDINGS, "MODEL_DIR": model_dir, "TRAIN_STEPS": steps, **bindings}
    return ["train", *FILES, *(f"--gin.{name}={value}" for name, value in given.items()), *more]


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test's own, as another machine has it."""
    monkeypatch.setenv("FLAN_JAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def bucket() -> Iterator[str]:
    with memory_bucket() as address:
        yield address


def steps_there(address: str) -> set[str]:
    content = fsspec.core.url_to_fs(address)[0].cat_file(f"{address}/run.json")
    return {name.split("/")[1] for name in json.loads(content)["files"] if name.startswith("checkpoints/")}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("where", [memory_bucket, s3_bucket])
def test_a_run_is_kept_and_read_at_an_address(where, cli, tmp_path, monkeypatch):
    with where() as root, small_mini():
        address, store = f"{root}/runs/first", {"STORE": tmp_path / "store"}
        done = cli(*train(address, 4, **store))
        assert done.code == 0, done.err
        staged = staging_folder(address)
        assert done.err.count(str(staged)) == 1, "its path is said once"
        assert f"MODEL_DIR {address} is staged in {staged}" in done.err
        assert f"The run's address: {address}\n" in done.out
        assert "4" in steps_there(address)
        listed = fsspec.core.url_to_fs(address)[0].ls(address, detail=False)
        assert f"{address}/writer.json".partition("://")[2] not in [path.strip("/") for path in listed]
        assert f"MODEL_DIR = '{address}'" in (staged / "config.gin").read_text()

        # The disk is lost: the same command goes on from the address.
        shutil.rmtree(staged)
        again = cli(*train(address, 6, **store))
        assert again.code == 0, again.err
        assert f"fetching step 4 of the run from {address}" in again.err
        assert [line["step"] for line in read_metrics(staged / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]
        kept = steps_there(address)
        assert "6" in kept

        # A machine that has nothing reads what it needs, and its results go back.
        monkeypatch.setenv("FLAN_JAX_CACHE", str(tmp_path / "elsewhere"))
        staged = staging_folder(address)
        before = json.loads(fsspec.core.url_to_fs(address)[0].cat_file(f"{address}/run.json"))
        earliest = min(map(int, kept))
        measured = cli("eval", "--model_dir", address, "--step", str(earliest), *ASKED)
        assert measured.code == 0, measured.err
        assert f"fetching step {earliest} of the run" in measured.err
        assert list(step_folders(staged / "checkpoints")) == [earliest]
        assert f"eval/{earliest}/results.json" not in before["files"]
        shutil.rmtree(staged)
        report = cli("report", address)
        assert report.code == 0, report.err
        assert report.out == f"{address}/report.html\n"
        assert (staged / "eval" / str(earliest) / "results.json").is_file(), (
            "measured elsewhere, and at the address now"
        )
        assert not (staged / "checkpoints").exists(), "a page needs no weights"
        assert cli("generate", "--model_dir", address, "Is it good?", "--max_tokens", "2").code == 0
        exported = cli("export-hf", address, str(tmp_path / "exported"))
        assert exported.code == 0, exported.err
        models = (f"{address}@{earliest}", address)
        compared = cli("compare", *models, *ASKED, "--output_dir", str(tmp_path / "compared"), "--json")
        assert compared.code == 0, compared.err
        assert set(json.loads(compared.out)["results"]) == {f"first@{earliest}", "first"}

        # To go on from a folder that readers fetched, the rest is fetched: no checkpoint is lost at the address.
        longer = cli(*train(address, 7, **store))
        assert longer.code == 0, longer.err
        assert (staged / "eval" / str(earliest) / "results.json").is_file()
        files = json.loads(fsspec.core.url_to_fs(address)[0].cat_file(f"{address}/run.json"))["files"]
        assert f"eval/{earliest}/results.json" in files, "the run has taken the results into its list"
        assert kept - {str(earliest)} <= steps_there(address)

        # Another run begins with its weights.
        begun = cli(*train(f"{root}/runs/second", 1, **store, INITIAL_CHECKPOINT_PATH=address))
        assert begun.code == 0, begun.err


REFUSED = {
    "s33://bucket/run": "Unknown protocol 's33'. Did you mean 's3'",
    "memory://run": "is the memory of one process and ends with it",
    "kept://user:secret@bucket/run": "has a password in it",
    "kept://": "names no place of a run",
    "gs://bucket/run": "pip install 'flan-jax[gcs]'",
}


@pytest.mark.parametrize("address", REFUSED)
@pytest.mark.parametrize("command", ["train", "eval", "report", "initial"])
def test_addresses_that_lead_nowhere_are_refused(address, command, refused, bucket, machine, tmp_path):
    if address.startswith("gs:"):
        with contextlib.suppress(ImportError):
            import gcsfs  # noqa: F401

            pytest.skip("gcsfs is installed")
    asked = {
        "train": train(address, 2),
        "eval": ["eval", "--model_dir", address],
        "report": ["report", address],
        "initial": train(tmp_path / "run", 2, INITIAL_CHECKPOINT_PATH=address),
    }[command]
    said = refused(*asked)
    assert REFUSED[address] in said
    assert "secret" not in said
    assert not machine.exists()
    assert not (tmp_path / "run").exists()


def test_nothing_is_there(refused, bucket, machine):
    for asked in (["eval", "--model_dir", f"{bucket}/none"], ["generate", "--model_dir", f"{bucket}/none", "x"]):
        assert f"There is no run at {bucket}/none" in refused(*asked)
    assert not machine.exists()


def test_what_may_not_be_written_is_refused_before_anything_is_trained(refused, bucket, machine):
    def deny(operation: str, path: str) -> None:
        raise PermissionError("The token has expired, see https://there/x?X-Amz-Security-Token=abc123 secret_key=xyz")

    Kept.before = staticmethod(deny)
    said = refused(*train(f"{bucket}/run", 2))
    assert f"{bucket}/run/writer.json cannot be written (PermissionError: The token has expired" in said
    assert "abc123" not in said
    assert "xyz" not in said
    assert not machine.exists()


def test_a_bucket_that_is_not_there_is_named_and_not_made(refused, machine):
    with s3_bucket() as root:
        said = refused(*train("s3://bucket-of-nobody/run", 2))
        assert "there is no bucket 'bucket-of-nobody'" in said
        assert not fsspec.filesystem("s3").exists("bucket-of-nobody")
        assert root
    assert not machine.exists()


def test_the_copy_and_the_place_are_one(refused, bucket):
    said = refused(*train(f"{bucket}/run", 2, "--mirror", f"{bucket}/other"))
    assert "Leave --mirror out" in said


def test_two_runs_at_one_address_are_refused_by_name(refused, bucket, machine):
    mirror = RunMirror(f"{bucket}/run", machine)
    with mirror.writer.held():
        said = refused(*train(f"{bucket}/run", 2))
    own = this_process()
    assert f"Another run is writing into {bucket}/run: process {own['pid']} on {own['host']}, since " in said


def test_a_step_that_is_not_there_is_named(refused, bucket, tmp_path):
    folder = tmp_path / "run"
    (folder / "checkpoints" / "3").mkdir(parents=True)
    (folder / "checkpoints" / "3" / "arrays").write_text("x")
    (folder / "manifest.json").write_text('{"config": {}, "tasks": {}}')
    RunMirror(f"{bucket}/run", folder).upload()
    assert "has no checkpoint of step 7; it has 3" in refused("eval", "--model_dir", f"{bucket}/run", "--step", "7")


def test_a_command_that_works_in_folders_alone_says_so(bucket):
    bindings = [
        f"{name}={value}" for name, value in {**BINDINGS, "TRAIN_STEPS": 1, "MODEL_DIR": f"{bucket}/run"}.items()
    ]
    with pytest.raises(UserError, match=f"MODEL_DIR is '{bucket}/run', and this command works in a folder of this"):
        gin_config.load(FILES[1::2], bindings)


def test_a_launch_at_an_address_is_recorded_in_the_working_folder(tmp_path, monkeypatch, bucket, machine):
    from flan_jax.cli.launching.launched_command import look_into

    monkeypatch.chdir(tmp_path)
    found = look_into(train(f"{bucket}/run", 2), unchecked=False)
    assert found.folder == Path()
    assert found.run.config.model_dir == str(staging_folder(f"{bucket}/run"))
    assert not machine.exists()
