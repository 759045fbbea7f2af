"""gin at the edge: the one place where configuration files become a RunConfig.

The conventions are T5X's: ``--gin_file`` (repeatable), ``--gin.NAME=VALUE``,
``--gin_search_paths``, macros in capitals. Two things are stricter: a macro that nothing reads is
an error, and every message about an unknown name suggests the nearest.
"""

import dataclasses
import functools
import importlib.resources
import inspect
import os
import re
import tokenize
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gin

from flan_jax.cli.gin_order import FileOrder
from flan_jax.data.formats.chosen import Reading
from flan_jax.data.recipe import OnError, TooLong
from flan_jax.errors import UserError, did_you_mean, unknown
from flan_jax.eval.decoding.config import DecodingConfig
from flan_jax.experiments.config import (
    CheckpointConfig,
    EvalConfig,
    OnContamination,
    OnDataChange,
    OnVocabularyChange,
    RunConfig,
    names_of,
)
from flan_jax.experiments.pretrained import pretrained_model
from flan_jax.feed.sampler import Exhausted
from flan_jax.models.build import ModelConfig
from flan_jax.models.config import T5Config
from flan_jax.models.decoder_config import DecoderConfig, RopeScaling
from flan_jax.models.tuning import TuningConfig
from flan_jax.tasks.dialog import Opening
from flan_jax.train.optimizer import OptimizerConfig
from flan_jax.train.sharding import MeshConfig

# The vocabulary's size is rounded up to a multiple of this, so that matrix shapes stay even on
# every mesh and accelerator; the spare rows are never a target.
VOCABULARY_MULTIPLE = 128

# gin also looks for files inside importable packages: a folder `models` anywhere on the import path
# would be taken for one, and every file not found there is logged as an error.
gin.config._FILE_READERS[:] = [(open, os.path.isfile)]

for _configurable in (
    T5Config,
    DecoderConfig,
    RopeScaling,
    pretrained_model,
    TuningConfig,
    OptimizerConfig,
    MeshConfig,
    CheckpointConfig,
    EvalConfig,
    DecodingConfig,
):
    gin.external_configurable(_configurable, module="flan_jax")


@gin.configurable(module="flan_jax")
def run(
    model_dir: str,
    mixture: str,
    lengths: Mapping[str, int],
    model: Callable[..., ModelConfig],
    optimizer: OptimizerConfig,
    steps: int,
    batch_size: int,
    lesson_steps: int = 0,
    vocab_size: int | None = None,
    vocabulary: str = "",
    initial_checkpoint: str = "",
    initial_adapter: str = "",
    store: str = "",
    use_cached_tasks: bool = False,
    data_dir: str = "",
    source_dir: str = "",
    hold_out: Sequence[str] = (),
    templates: str = "",
    format: str = "auto",
    clean: Sequence[str] = (),
    no_clean: Sequence[str] = (),
    opening: Opening = "fail",
    audit: OnContamination = "refuse",
    audit_tolerance: float = 0.0,
    on_error: OnError = "fail",
    too_long: TooLong = "truncate",
    separator: str = "",
    chat_template: bool | str = False,
    pack: bool = True,
    exhausted: Exhausted = "repeat",
    max_epochs: int = 1,
    data_workers: int = 0,
    on_data_change: OnDataChange = "refuse",
    on_vocabulary_change: OnVocabularyChange = "refuse",
    seed: int = 0,
    z_loss: float = 0.0,
    log_period: int = 100,
    tuning: TuningConfig | None = None,
    mesh: MeshConfig | None = None,
    checkpoint: CheckpointConfig | None = None,
    evaluation: EvalConfig | None = None,
) -> RunConfig:
    """Gathers the bound values into a RunConfig; see there for what each means.

    ``model`` is a reference (``@T5Config``, ``@DecoderConfig``), called here with what it takes of these: the
    ids that begin and end a sequence in the vocabulary, and its size, unless ``vocab_size`` says otherwise.
    ``@pretrained_model`` takes ``initial_checkpoint``, whose tokenizer is the vocabulary if none is named.
    """
    from flan_jax.data.tokenizers import load_vocabulary
    from flan_jax.experiments.kept_model import described_vocabulary, vocabulary_place
    from flan_jax.experiments.setup import resolve_mixture, resolve_vocabulary, set_folders

    set_folders(data_dir, source_dir)
    if not callable(model):
        raise UserError(f"run.model={model!r} must be a reference such as @T5Config, without parentheses.")
    reading = Reading(format, names_of(clean, "run.clean"), names_of(no_clean, "run.no_clean"), opening)
    takes = _arguments(model)
    if "initial_checkpoint" in takes and initial_checkpoint and not vocabulary:
        vocabulary = described_vocabulary(initial_checkpoint, model_dir)
    # A vocabulary that is named needs no mixture, whose data may be elsewhere; whether it fits is seen when both are there.
    place = vocabulary_place(vocabulary, model_dir)
    named = load_vocabulary(place) if place else resolve_vocabulary("", resolve_mixture(mixture, reading))
    if vocab_size is not None and "vocab_size" not in takes:
        raise UserError(f"run.vocab_size is {vocab_size}, but the model is read with its size. Leave it out.")
    offered = {
        "vocab_size": -(-named.size // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE if vocab_size is None else vocab_size,
        "eos_id": named.eos_id,
        "bos_id": getattr(named, "bos_id", None),
        "reads_start": getattr(named, "adds_bos", None),
        "initial_checkpoint": initial_checkpoint,
        "model_dir": model_dir,
    }
    return RunConfig(
        model_dir=model_dir,
        mixture=mixture,
        lengths=lengths,
        model=model(**{name: value for name, value in offered.items() if name in takes and value is not None}),
        optimizer=optimizer,
        steps=steps,
        batch_size=batch_size,
        lesson_steps=lesson_steps,
        vocabulary=vocabulary,
        initial_checkpoint=initial_checkpoint,
        initial_adapter=initial_adapter,
        store=store,
        use_cached_tasks=use_cached_tasks,
        data_dir=data_dir,
        source_dir=source_dir,
        hold_out=names_of(hold_out),
        templates=templates,
        format=format,
        clean=reading.clean,
        no_clean=reading.no_clean,
        opening=opening,
        audit=audit,
        audit_tolerance=audit_tolerance,
        on_error=on_error,
        too_long=too_long,
        separator=separator,
        chat_template=chat_template,
        pack=pack,
        exhausted=exhausted,
        max_epochs=max_epochs,
        data_workers=data_workers,
        on_data_change=on_data_change,
        on_vocabulary_change=on_vocabulary_change,
        seed=seed,
        z_loss=z_loss,
        log_period=log_period,
        tuning=tuning or TuningConfig(),
        mesh=mesh or MeshConfig(),
        checkpoint=checkpoint or CheckpointConfig(),
        eval=evaluation or EvalConfig(),
    )


def _arguments(model: Callable[..., ModelConfig]) -> set[str]:
    """The names of what a reference takes."""
    model = inspect.unwrap(model)
    if dataclasses.is_dataclass(model):  # gin gives its classes a call that hides their signature
        return {field.name for field in dataclasses.fields(model)}
    return set(inspect.signature(model).parameters)


@dataclasses.dataclass(frozen=True)
class GinRun:
    """A resolved run with the text that reproduces it.

    Attributes:
        config: the run.
        operative: gin's operative configuration, saved as ``config.gin``.
    """

    config: RunConfig
    operative: str


def shipped_gin_dir() -> Path:
    """The folder of the gin files that ship with the package.

    Inside an installed package they are ``flan_jax/gin_files``; in a checkout the folder ``gin``.
    """
    package = Path(str(importlib.resources.files("flan_jax")))
    installed = package / "gin_files"
    return installed if installed.is_dir() else package.parent / "gin"


def load(files: Sequence[str], bindings: Sequence[str] = (), search_paths: Sequence[str] = ()) -> GinRun:
    """Reads gin files and bindings, in this order, and resolves the run.

    Args:
        files: names or paths, looked for in the working folder, ``search_paths``, and the
            shipped folder.
        bindings: ``NAME=VALUE`` strings. A bare word as the value of a macro is taken as a string.

    Raises:
        UserError: an unknown file, macro, configurable or parameter; a required macro not set; a file that undoes
            what one before it is there for (``gin_order``).
    """
    gin.clear_config()
    del gin.config._LOCATION_PREFIXES[1:]
    for path in [*search_paths, str(shipped_gin_dir())]:
        gin.add_config_file_search_path(path)
    order = FileOrder(shipped_gin_dir(), search_paths)
    for file in files:
        with order.reading(file):
            _parse(functools.partial(gin.parse_config_file, file), where=file, search_paths=search_paths)
    order.check(bindings)
    for binding in bindings:
        parse = functools.partial(gin.parse_config, _quoted(binding))
        _parse(parse, where=f"--gin.{binding}", search_paths=search_paths)
    _check_macros()
    try:
        config = run()
    except UserError as error:
        raise UserError(_without_gin_trace(str(error))) from None
    except (RuntimeError, TypeError, ValueError) as error:
        raise _resolution_error(error) from error
    return GinRun(config, gin.operative_config_str())


def _quoted(binding: str) -> str:
    """``NAME=value`` → ``NAME='value'`` where the value is a bare word: a shell eats the quotes.

    >>> _quoted("MODEL_DIR=runs/a"), _quoted("TRAIN_STEPS=3"), _quoted("EvalConfig.before=True")
    ("MODEL_DIR='runs/a'", 'TRAIN_STEPS=3', 'EvalConfig.before=True')
    """
    name, equals, value = binding.partition("=")
    if not equals:
        raise UserError(f"--gin.{binding} has no value. Write --gin.NAME=VALUE.")
    value = value.strip()
    literal = re.fullmatch(r"[-+]?[\d.][\d._eE+-]*|True|False|None", value) or value[:1] in "'\"([{@%"
    return binding if literal and value else f"{name}={value!r}"


def _parse(parse: Callable[[], Any], *, where: str, search_paths: Sequence[str]) -> None:
    try:
        parse()
    except UserError:
        raise
    except OSError as error:
        missing = re.search(r"Unable to open file: ([^.]*\.?\S*?)\. Searched", str(error))
        name = missing.group(1) if missing else where
        shipped = shipped_gin_dir()
        known = [path.relative_to(shipped).as_posix() for path in shipped.rglob("*.gin")]
        looked = ", ".join(["the working folder", *search_paths, "the shipped files"])
        raise UserError(f"gin file {name!r} is in none of: {looked}.{did_you_mean(name, known)}") from error
    except (ValueError, SyntaxError, tokenize.TokenError, TypeError, ImportError, AttributeError) as error:
        raise _parse_error(error, where) from error


def _parse_error(error: Exception, where: str) -> UserError:
    text = str(error).strip()
    parameter = re.search(r"Configurable '(\S+)' doesn't have a parameter named '(\w+)'", text)
    if parameter:
        name, argument = parameter.groups()
        return unknown(f"parameter of {name.split('.')[-1]} ({where})", argument, _parameters(name))
    configurable = re.search(r"No configurable matching '(\S+?)'", text)
    if configurable:
        return unknown(f"configurable ({where})", configurable.group(1), _configurables())
    first = text.splitlines()[0] if text else type(error).__name__
    return UserError(f"{where} is not valid gin: {first}. A value is a Python literal, @reference or %MACRO.")


def _configurables() -> list[str]:
    return [selector.split(".")[-1] for selector, _ in gin.config._REGISTRY.items() if selector.startswith("flan_jax.")]


def _parameters(name: str) -> list[str]:
    matches = [
        item for selector, item in gin.config._REGISTRY.items() if selector.split(".")[-1] == name.split(".")[-1]
    ]
    function = getattr(matches[0], "wrapped", None) if matches else None
    if dataclasses.is_dataclass(function):
        return [field.name for field in dataclasses.fields(function)]
    return list(inspect.signature(function).parameters) if function else []


def _macros() -> tuple[set[str], set[str]]:
    """The macros that are given a value, and those that something reads."""
    macro_selector = "gin.macro"
    given = {scope for scope, selector in gin.config._CONFIG if selector == macro_selector}
    read = {
        reference.scoped_selector.rpartition("/")[0]
        for reference in gin.config.iterate_references(gin.config._CONFIG)
        if reference.selector.endswith("macro")
    }
    return given, read


def _check_macros() -> None:
    """A macro nobody reads is a misspelling, which gin itself would ignore; a required one needs a value."""
    given, read = _macros()
    # A file may bind a parameter directly and so leave a shipped macro unread: that is no mistake.
    known = read | _shipped_macros()
    for name in sorted(given - known):
        raise unknown("gin macro", name, known, remedy="Nothing in the gin files reads it.")
    for parameter, value in sorted(gin.get_bindings("run", resolve_references=False).items()):
        if _is_required(value):
            raise UserError(f"run.{parameter} has no value. Set it with --gin.run.{parameter}=VALUE.")
    for name in sorted(read):
        if name not in given or _is_required(gin.config._CONFIG[(name, "gin.macro")]["value"]):
            raise UserError(
                f"The gin macro {name} has no value. Set it with --gin.{name}=VALUE.{did_you_mean(name, given - {name})}"
            )


def _is_required(value: Any) -> bool:
    """Whether a bound value is still ``%gin.REQUIRED``: gin hands out copies, so identity does not tell."""
    return isinstance(value, gin.config.ConfigurableReference) and value.scoped_selector == "gin.REQUIRED/gin.constant"


def _shipped_macros() -> set[str]:
    """The macros that the shipped files define."""
    files = shipped_gin_dir().rglob("*.gin")
    return {
        name for file in files for name in re.findall(r"^([A-Z][A-Z0-9_]*) *=", file.read_text(encoding="utf-8"), re.M)
    }


def _resolution_error(error: Exception) -> Exception:
    text = str(error)
    missing = re.search(r"(\w+)\(\) missing \d+ required (?:positional |keyword-only )?arguments?: (.*)", text)
    if missing:
        names = ", ".join(f"{missing.group(1)}.{name}" for name in re.findall(r"'(\w+)'", missing.group(2)))
        return UserError(
            f"The configuration gives no value to {names}. Include a file from runs/ and one from models/, "
            "with --gin_file or an include line."
        )
    if isinstance(error, ValueError):
        return UserError(_without_gin_trace(text))
    return error


def _without_gin_trace(text: str) -> str:
    """gin appends 'In call to configurable …' lines; the sentence before them is the message."""
    return re.split(r"\n\s*(?:In call to configurable|No values supplied)", text)[0].strip()


def environment_search_paths() -> list[str]:
    """Extra search paths from ``FLAN_JAX_GIN_PATH`` (separated like ``PATH``)."""
    return [path for path in os.environ.get("FLAN_JAX_GIN_PATH", "").split(os.pathsep) if path]
