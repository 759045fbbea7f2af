import huggingface_hub
import pytest
from huggingface_hub import constants, errors

from flan_jax.data.sources import hub_access
from flan_jax.data.sources.hub_models import model_folder
from flan_jax.errors import UserError


@pytest.fixture
def asked(monkeypatch):
    """What was asked of the hub, which has one model."""
    calls = []

    def download(name, *, revision, allow_patterns, ignore_patterns):
        calls.append((name, revision))
        if name != "owner/model":
            raise errors.LocalEntryNotFoundError("not there")
        return "/snapshots/1"

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return calls


def test_a_folder_here_is_not_looked_for_elsewhere(asked, tmp_path, monkeypatch):
    (tmp_path / "owner" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert str(model_folder("owner/model")) == "owner/model"
    assert asked == []
    assert str(model_folder("hf:owner/model")) == "/snapshots/1"


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("owner/model", ("owner/model", None)),
        ("hf:owner/model", ("owner/model", None)),
        ("owner/model@v1.0", ("owner/model", "v1.0")),
        ("owner/model@refs/pr/7", ("owner/model", "refs/pr/7")),
    ],
)
def test_names_of_the_hub(asked, name, call):
    assert str(model_folder(name)) == "/snapshots/1"
    assert asked == [call]


@pytest.mark.parametrize("name", ["/no/such/folder", "./runs/first", "nothing", "a/b/c", "../runs/a"])
def test_a_path_is_no_name(asked, name):
    with pytest.raises(UserError, match="There is no folder"):
        model_folder(name)
    assert asked == []


def test_neither_here_nor_there(asked):
    with pytest.raises(UserError, match="'runs/frist' is no folder here and was not downloaded before"):
        model_folder("runs/frist")


def test_a_file_is_no_folder(asked, tmp_path):
    file = tmp_path / "model.safetensors"
    file.touch()
    with pytest.raises(UserError, match="is a file"):
        model_folder(file)


def test_a_snapshot_is_found_again_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setattr(hub_access, "_resolvable", lambda: False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    of_model = tmp_path / "models--owner--model"
    snapshot = of_model / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (of_model / "refs").mkdir()
    (of_model / "refs" / "main").write_text("0" * 40)
    (snapshot / "config.json").write_text("{}")
    assert model_folder("owner/model") == snapshot
    with pytest.raises(UserError, match="cannot be reached"):
        model_folder("owner/other")
