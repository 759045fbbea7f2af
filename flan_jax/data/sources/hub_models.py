"""Resolves a model's name to a folder: one on this machine, or a snapshot from the Hugging Face hub."""

import re
from pathlib import Path

from flan_jax.data.sources.hub_access import offline_if_unreachable
from flan_jax.errors import UserError

HUB = "hf:"
"""May stand before a name of the hub, where a folder could be meant."""

# What a model is made of here: configuration, weights that run no code, tokenizer, chat template.
_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
# The same weights a second time, in the files of another library.
_COPIES = ["consolidated*", "original/*", "onnx/*", "openvino/*", "*/*"]
_NAME = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")


def model_folder(name: str | Path) -> Path:
    """Returns the folder of a model.

    Args:
        name: a folder; or ``OWNER/NAME`` on the hub, with ``@REVISION`` for another than its main branch. What was
            downloaded once is found again without a network.

    Raises:
        UserError: it is neither.
    """
    folder = Path(name).expanduser()
    asked = str(name).removeprefix(HUB)
    if folder.is_dir() and not str(name).startswith(HUB):
        return folder
    on_hub = _NAME.fullmatch(asked)
    if folder.is_file() and folder.suffix == ".gguf":
        raise UserError(f"{str(name)!r} is {gguf_advice(folder)}")
    if folder.exists():
        raise UserError(f"{str(name)!r} is a file. Give the folder that it lies in.")
    if not on_hub or asked.startswith("."):
        raise UserError(
            f"There is no folder {str(name)!r}. Give a run's folder, a Hugging Face folder (config.json and "
            "*.safetensors), or a model of the hub as OWNER/NAME."
        )
    return _snapshot(on_hub["name"], on_hub["revision"])


def gguf_advice(path: Path) -> str:
    """Returns what a GGUF file is, and the command that makes a folder of it that is read."""
    beside = path.with_suffix("")
    code = (
        "import transformers as t; "
        f"of = dict(pretrained_model_name_or_path='{path.parent}', gguf_file='{path.name}'); "
        f"[kind.from_pretrained(**of).save_pretrained('{beside}') for kind in (t.AutoModelForCausalLM, t.AutoTokenizer)]"
    )
    return (
        "a GGUF file, whose weights are quantised as a rule: a folder with config.json and *.safetensors is read. transformers "
        f'makes one: python -c "{code}"'
    )


def _snapshot(name: str, revision: str | None) -> Path:
    import huggingface_hub
    from huggingface_hub import errors

    where = f"{name!r}" + (f" (revision {revision!r})" if revision else "")
    try:
        with offline_if_unreachable():
            found = huggingface_hub.snapshot_download(
                name, revision=revision, allow_patterns=_FILES, ignore_patterns=_COPIES
            )
    except errors.GatedRepoError as error:
        raise UserError(
            f"The hub gives out {where} only to those who accepted its terms. Accept them on the model's page, then log in "
            "with `hf auth login`."
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
        raise UserError(
            f"{where} is no folder here, and the hub has no such model. Check the name; a private model needs "
            "`hf auth login`."
        ) from error
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, errors.IncompleteSnapshotError, OSError) as error:
        raise UserError(
            f"{where} is no folder here and was not downloaded before, and the hub cannot be reached "
            f"({type(error).__name__}). Give a folder, or download it where there is a network."
        ) from error
    return Path(found)
