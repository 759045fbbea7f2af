"""Settings through the command line: each is honoured as its field means it, or refused in one sentence, and nothing is written."""

import io
import re

import pytest

from flan_jax.cli import gin_config
from flan_jax.cli.commands.generate import decoding_of
from flan_jax.cli.gin_values import as_gin
from flan_jax.cli.main import build_parser
from flan_jax.errors import UserError
from flan_jax.eval.decoding.config import DecodingConfig
from flan_jax.experiments.preflight import check_startable
from flan_jax.experiments.settings_summary import unread

DEVICES = 2  # of a run that names no mesh: else every size of a batch would do
FILES = ("models/t5_tiny.gin", "runs/finetune.gin")
GIVEN = ("MIXTURE_OR_TASK_NAME=mini", "TRAIN_STEPS=1", "TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 16}")


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def loaded(*bindings, files=FILES):
    return gin_config.load(files, [*GIVEN, "MODEL_DIR=run", *bindings]).config


def test_two_names_of_one_place_are_not_both_given():
    bindings = [*GIVEN[::2], "EVAL_OUTPUT_DIR=a", "CHECKPOINT_PATH=b", "MODEL_DIR=c"]
    with pytest.raises(UserError, match=r"EVAL_OUTPUT_DIR .*It feeds MODEL_DIR, which has a value of its own"):
        gin_config.load(("models/t5_tiny.gin", "runs/eval.gin"), bindings)


# A text field takes words as they are, whatever they look like.
@pytest.mark.parametrize(
    "words",
    [
        "2024-11-21", "20240501_1", "1e5", "007", "True", "None", "3", "(a)", "[1]", "{x}", "a b/c d", "it's", 'say "x"',
        "#1", "run # 2", "a=b", "@home", "%x", "runs/é", "-", "x,y", "'", "1_000", "0x10", "nan", "a\tb",
    ],
)  # fmt: skip
def test_a_text_is_taken_as_it_is(words):
    assert loaded(f"MODEL_DIR={words}").model_dir == words
    assert loaded(f"run.store={words}").data.store == words


def test_quotes_of_gin_and_macros_still_mean_what_they_say():
    assert loaded("MODEL_DIR='runs/a'").model_dir == "runs/a"
    assert loaded('MODEL_DIR="2024"').model_dir == "2024"
    assert loaded("STORE=").data.store == loaded("STORE=''").data.store == ""
    assert loaded("STORE=%MODEL_DIR", "MODEL_DIR=2024").data.store == "2024"


def test_the_field_behind_several_macros_decides():
    files = ("models/t5_tiny.gin", "runs/eval.gin")
    bindings = [*GIVEN[::2], "EVAL_OUTPUT_DIR=2024-11-21", "CHECKPOINT_PATH=1e5", "HOLD_OUT=rte,cb"]
    config = gin_config.load(files, bindings).config
    assert (config.model_dir, config.initial_checkpoint, config.data.hold_out) == ("2024-11-21", "1e5", ("rte", "cb"))


@pytest.mark.parametrize(
    ("word", "value"),
    [("false", False), ("False", False), ("FALSE", False), ("'False'", False), ("true", True), ("True", True)],
)
def test_a_boolean_is_spelt_as_people_do(word, value):
    assert loaded(f"run.pack={word}").feed.pack is value
    assert loaded(f"USE_CACHED_TASKS={word}").data.use_cached_tasks is value
    assert loaded(f"EvalConfig.before={word}").evaluation.before is value


def test_a_home_folder_is_meant_by_its_sign(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = loaded("MODEL_DIR=~/run", "STORE=~/store", "DATA_DIR=~", "SOURCE_DIR=a~")
    assert (config.model_dir, config.data.store) == (f"{tmp_path}/run", f"{tmp_path}/store")
    assert (config.data.data_dir, config.data.source_dir) == (str(tmp_path), "a~")


def test_words_of_other_fields():
    assert as_gin("never", [bool | str]) == "'never'"
    assert as_gin("None", [int | None]) == "None"
    assert loaded("HOLD_OUT=('rte', 'cb')").data.hold_out == loaded("HOLD_OUT=rte,cb").data.hold_out == ("rte", "cb")
    assert loaded("BATCH_SIZE=1_024", "LEARNING_RATE=1e-3", "Z_LOSS=0").feed.batch_size == 1024


def test_a_part_that_is_set_is_read():
    """What says the part says enough: there is one place for it."""
    config = loaded("TuningConfig.lora_rank=8", "DecodingConfig.method=beam", "DecodingConfig.beams=2")
    assert config.tuning.lora_rank == 8
    assert (config.evaluation.decoding.method, config.evaluation.decoding.beams) == ("beam", 2)
    decoder = loaded(
        "RopeScaling.kind=linear", "RopeScaling.factor=2", files=("models/decoder_mini.gin", "runs/finetune.gin")
    ).model
    assert decoder.rope_scaling.factor == 2


def test_the_written_configuration_reads_the_part_again(tmp_path):
    first = gin_config.load(FILES, [*GIVEN, "MODEL_DIR=run", "TuningConfig.lora_rank=8"])
    (tmp_path / "config.gin").write_text(first.operative, encoding="utf-8")
    assert gin_config.load([str(tmp_path / "config.gin")]).config == first.config


REFUSED = {
    # A text is no boolean.
    "run.pack=no": "run.pack is 'no'; it must be True or False",
    "run.pack=1": "run.pack is 1; it must be True or False",
    "run.pack=None": "run.pack is None; it must be True or False",
    "run.pack=": "run.pack is ''; it must be True or False",
    "USE_CACHED_TASKS=maybe": "USE_CACHED_TASKS (run.use_cached_tasks) is 'maybe'; it must be True or False",
    "EvalConfig.before=yes": "EvalConfig.before is 'yes'; it must be True or False",
    "T5Config.tie_embeddings=0": "T5Config.tie_embeddings is 0; it must be True or False",
    # Numbers.
    "DROPOUT_RATE=abc": "DROPOUT_RATE (T5Config.dropout_rate) is 'abc'; it must be a finite number",
    "DROPOUT_RATE=1.0": "of at least 0 and below 1",
    "LEARNING_RATE=nan": "LEARNING_RATE (OptimizerConfig.learning_rate) is 'nan'; it must be a finite number above 0",
    "LEARNING_RATE=inf": "must be a finite number",
    "LEARNING_RATE=1e999": "must be a finite number",
    "Z_LOSS=-1": "Z_LOSS (run.z_loss) is -1; it must be a finite number of at least 0",
    "TRAIN_STEPS=1.5": "is 1.5; it must be a whole number",
    "TRAIN_STEPS=1e3": "Write 1000",
    "TRAIN_STEPS=True": "is True; it must be a whole number",
    "TRAIN_STEPS=10000000000": "it must be at most 2,147,483,647",
    "BATCH_SIZE=99999999": "BATCH_SIZE (run.batch_size) is 99999999; it must be a whole number from 1 to 1,048,576",
    "RANDOM_SEED=-1": "RANDOM_SEED (run.seed) is -1; it must be a whole number from 0 to 4,294,967,295",
    "RANDOM_SEED=12345678901234567890123": "RANDOM_SEED (run.seed) is 12345678901234567890123; it must be",
    "MeshConfig.data=1.0": "MeshConfig.data is 1.0; it must be a whole number or None. Write 1.",
    "MeshConfig.data=0": "needs positive sizes",
    "MeshConfig.fsdp=3": "does not fit",
    "BATCH_SIZE=63": "must be a multiple of",
    "MICROBATCHES=3": "run.microbatches (MICROBATCHES) is 3; each part of a batch is split over",
    "MICROBATCHES=0": "MICROBATCHES (run.microbatches) is 0; it must be a whole number of at least 1",
    "TASK_FEATURE_LENGTHS={'inputs': 1000000000000, 'targets': 8}": "lengths",
    "TASK_FEATURE_LENGTHS={'inputs': 9999999, 'targets': 8}": "at most 1,048,576",
    "TASK_FEATURE_LENGTHS={'inputs': 64.0, 'targets': 8}": "must be a mapping of names to whole numbers",
    "TASK_FEATURE_LENGTHS=64": "must be a mapping of names to whole numbers",
    "run.data_workers=100000": "run.data_workers is 100000; it must be at most",
    "EvalConfig.batch_size=2097152": "from 1 to 1,048,576",
    "DecodingConfig.top_p=nan": "DecodingConfig.top_p is 'nan'; it must be a finite number",
    "DecodingConfig.seed=4294967296": "from 0 to 4,294,967,295",
    # Whole parts.
    "run.mesh=x": "run.mesh is 'x'; it must be @MeshConfig() or None",
    "run.mesh=@OptimizerConfig()": "run.mesh is @OptimizerConfig(); it must be @MeshConfig() or None",
    "run.mesh=@MeshConfig": "Write @MeshConfig() for a part",
    "run.optimizer=None": "run.optimizer is None; it must be @OptimizerConfig()",
    "run.optimizer=adamw": "run.optimizer is 'adamw'; it must be @OptimizerConfig()",
    "run.checkpoint=7": "run.checkpoint is 7; it must be @CheckpointConfig() or None",
    "run.evaluation=all": "run.evaluation is 'all'; it must be @EvalConfig() or None",
    "run.tuning=lora": "run.tuning is 'lora'; it must be @TuningConfig() or None",
    "run.model=T5Config": "run.model is 'T5Config'; it must be a reference such as @T5Config",
    "run.model=@T5Config()": "run.model is @T5Config(); it must be a reference such as @T5Config",
    "run.model=@MeshConfig": "it must be @T5Config() or @T5GemmaConfig() or @DecoderConfig()",
    "EvalConfig.decoding=beam": "EvalConfig.decoding is 'beam'; it must be @DecodingConfig()",
    "EvalConfig.suites=held_out": "EvalConfig.suites is 'held_out'; it must be a tuple of texts or None. Write ('held_out',)",
    "TuningConfig.train=encoder": "Write ('encoder',)",
    # Choices.
    "DecodingConfig.method=beem": "Did you mean 'beam'",
    "run.exhausted=repeet": "Did you mean 'repeat'",
    "run.on_error=ignore": "one of 'fail', 'skip'",
    "OptimizerConfig.schedule=cosin": "Did you mean 'cosine'",
    # What nothing reads.
    "DecoderConfig.family=lama": "Nothing in this run reads DecoderConfig.family (--gin.DecoderConfig.family=lama): run.model is @T5Config",
    "pretrained_model.dtype=bfloat16": "Nothing in this run reads pretrained_model.dtype",
    "RopeScaling.factor=2": "Nothing in this run reads RopeScaling.factor",
    "LORA_RANK=8": "Nothing in this run reads the gin macro LORA_RANK (--gin.LORA_RANK=8). runs/lora.gin would: add --gin_file runs/lora.gin",
    "PROMPT_TOKENS=8": "runs/prompt.gin would",
    "CHECKPOINT_PATH=x": "runs/eval.gin would",
    "other/EvalConfig.period=2": "Nothing in this run reads other/EvalConfig.period",
    "TuningConfig.lora_rank=0 TuningConfig.lora_alpha=32": "nothing reads it, as lora_rank is 0",
    "run.tuning=None TuningConfig.lora_rank=8": "Set run.tuning=@TuningConfig() to have it read",
    # What the other settings leave without a reader (the recipe has adafactor and a constant rate).
    "OptimizerConfig.beta1=0.8": "OptimizerConfig.beta1=0.8 is read with name='adamw' or name='muon' or name='lion' only, and the name is 'adafactor'",
    "OptimizerConfig.name=adamw OptimizerConfig.momentum=0.8": "OptimizerConfig.momentum=0.8 is read with name='muon' only",
    "OptimizerConfig.schedule=constant OptimizerConfig.total_steps=9": "OptimizerConfig.total_steps=9 is read with schedule='linear'",
    "run.max_epochs=2": "run.max_epochs=2 is read with exhausted='drop' or exhausted='stop' only, and the exhausted is 'repeat'",
    "run.audit=off run.audit_tolerance=0.5": "run.audit_tolerance=0.5 is read with audit='refuse' or audit='warn' only",
    "EvalConfig.suites=() EvalConfig.max_examples=3": "EvalConfig.max_examples=3 says how suites are measured, and EvalConfig.suites=() measures none",
    "DecodingConfig.top_k=3": "DecodingConfig.top_k=3 is read with method='sample' only",
    # Circles and depths.
    "LEARNING_RATE=%LEARNING_RATE": "The gin macro LEARNING_RATE refers to itself: LEARNING_RATE → LEARNING_RATE",
    "STORE=%DATA_DIR DATA_DIR=%SOURCE_DIR SOURCE_DIR=%STORE": "refers to itself",
    "HOLD_OUT=" + "[" * 5000: "Unknown cluster or task",
    "TuningConfig.train=" + "(" * 5000 + ")" * 5000: "nested too deeply",
    "TASK_FEATURE_LENGTHS=" + "{1:" * 500 + "1" + "}" * 500: "",
    # Places.
    "MODEL_DIR=" + "x" * 5000: "it has 5,000 bytes, and a path has at most 4,095",
    "MODEL_DIR=a/" + "x" * 300: "it has a name of 300 bytes, and file systems hold 255 at most",
    "MODEL_DIR=a\0b": "no path may have these",
    "MODEL_DIR=a\udc80b": "no path may have these",
    "MODEL_DIR=a\\b": "it must have no backslash",
    "MODEL_DIR=s33://bucket/run": "Unknown protocol 's33'",
    "MODEL_DIR=file:///tmp/run": "Write it without 'file://'",
    "MODEL_DIR=": "run.model_dir is ''",
    "STORE=a\\b": "it must have no backslash",
    "STORE=file:///tmp/store": "Write it without 'file://'",
    "INITIAL_CHECKPOINT_PATH=s33://bucket/model": "Unknown protocol 's33'",
    "INITIAL_CHECKPOINT_PATH=nowhere": "nowhere",
    "DATA_DIR=nowhere": "DATA_DIR is 'nowhere', which is not a folder",
    "SOURCE_DIR=nowhere": "SOURCE_DIR is 'nowhere', which is not a folder",
    "TEMPLATES=nowhere.json": "nowhere.json",
    "VOCABULARY=minni": "minni",
}  # fmt: skip


@pytest.mark.parametrize("bindings", REFUSED, ids=lambda text: text[:40])
def test_what_cannot_be_meant_is_refused_and_nothing_is_written(refused, empty, bindings):
    given = [
        f"--gin.{binding}"
        for binding in (bindings.split(" ") if " " in bindings and "{" not in bindings else [bindings])
    ]
    files = [argument for file in FILES for argument in ("--gin_file", file)]
    said = refused("train", *files, *(f"--gin.{binding}" for binding in (*GIVEN, "MODEL_DIR=run")), *given)
    assert REFUSED[bindings] in said
    assert len(said) < 1200
    assert list(empty.iterdir()) == []


def test_a_file_says_literals_only_and_its_line_is_named(tmp_path, refused, empty):
    for line, message in {
        "run.pack = 'False'": "run.pack (own.gin, line 2) is 'False'; it must be True or False. Write False without quotes",
        "MODEL_DIR = 2024": "MODEL_DIR (run.model_dir) is 2024; it must be a path. Put it in quotes: '2024'",
        "STORE = 7": "STORE (run.store) is 7; it must be a path",
        "DATA_DIR = 1.5": "DATA_DIR (run.data_dir) is 1.5",
        "DecoderConfig.d_model = 8": "Nothing in this run reads DecoderConfig.d_model (own.gin, line 2)",
        "RANK = 3": "Unknown gin macro 'RANK'",
        "run.pack = false": "own.gin, line 2 is not valid gin",
        "EvalConfig.perod = 3": "Did you mean 'period'",
        "EvalConfg.period = 3": "Did you mean 'EvalConfig'",
        "run.mesh = @MeshConfg()": "Did you mean 'MeshConfig'",
        "import no_such_module": "own.gin, line 2: import no_such_module: ModuleNotFoundError",
        "include 'own.gin'": "gin files include each other in a circle",
        "include 'none.gin'": "gin file 'none.gin' is in none of",
        "STORE = " + "[" * 5000: "own.gin",
    }.items():
        (tmp_path / "own.gin").write_text(f"include 'runs/quickstart.gin'\n{line}\n", encoding="utf-8")
        assert message in refused("train", "--gin_file", "own.gin")
    (tmp_path / "own.gin").write_bytes(b"MODEL_DIR = '\xff'\n")
    assert "own.gin is not UTF-8" in refused("train", "--gin_file", "own.gin")
    assert "no path may have these" in refused("train", "--gin_file", "x\0y")
    assert "at most 4,095" in refused("train", "--gin_file", "x" * 5000)
    assert [path.name for path in tmp_path.iterdir()] == ["own.gin"]


def test_a_value_of_a_shipped_file_may_stay_unread(tmp_path):
    """Nobody wrote it for this run: a file on top may take another model, or set a parameter itself."""
    (tmp_path / "own.gin").write_text("include 'runs/quickstart.gin'\nrun.steps = 500\n", encoding="utf-8")
    assert gin_config.load([str(tmp_path / "own.gin")]).config.steps == 500


def test_a_vocabulary_is_known_by_its_name():
    assert loaded("VOCABULARY=mini").data.vocabulary == "mini"


@pytest.mark.parametrize("seed", ["-1", str(2**32), "9" * 30])
def test_a_seed_of_a_command_is_one_of_32_bits(refused, seed):
    assert "--seed is" in refused("inspect", "pronoun", "--seed", seed)
    assert "--seed is" in refused("generate", "--model_dir", "nowhere", "--seed", seed, "hello")


def test_an_answer_is_no_longer_than_a_machine_can_hold(refused):
    assert "at most 1,048,576" in refused("generate", "--model_dir", "nowhere", "--max_tokens", "999999999", "hello")


def test_binary_on_standard_input_is_refused(refused, monkeypatch):
    monkeypatch.setattr("flan_jax.cli.commands.generate._answerer", lambda arguments, model_dir: None)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe\x00\n"), encoding="utf-8"))
    assert "Standard input is not UTF-8" in refused("generate", "--model_dir", "nowhere")


def test_a_binding_without_a_value_is_refused():
    for binding in ("TRAIN_STEPS", "=3"):
        with pytest.raises(UserError, match="has no value"):
            loaded(binding)


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ("DecoderConfig.window_pattern=(True,False)", "says which layers have the window, and there is none"),
        ("DecoderConfig.position=learned DecoderConfig.rope_theta=5e5", "is of rotary positions"),
        ("RopeScaling.kind=linear RopeScaling.factor=2 RopeScaling.beta_fast=9", "is read with kind='yarn' only"),
    ],
)
def test_what_the_shape_of_a_decoder_does_not_read_is_refused(binding, message):
    files = ("models/decoder_mini.gin", "runs/finetune.gin")
    with pytest.raises(UserError, match=message):
        loaded(*re.split(" (?=[A-Z])", binding), files=files)
    windowed = loaded("DecoderConfig.window_pattern=(True, False)", "DecoderConfig.sliding_window=8", files=files)
    assert windowed.model.local_layers[:2] == (True, False)


def test_what_a_shipped_file_says_for_another_optimizer_is_no_mistake_of_the_user_s():
    """It is said when the run begins (check_schedule)."""
    config = loaded(
        "OptimizerConfig.name=adafactor", "OptimizerConfig.schedule=constant", files=("runs/quickstart.gin",)
    )
    assert [field for _, field, _ in unread(config)] == ["beta2", "final_fraction"]


def test_a_family_that_is_not_known_is_refused_before_anything_is_written():
    files = ("models/decoder_mini.gin", "runs/finetune.gin")
    with pytest.raises(UserError, match=r"Unknown DecoderConfig\.family 'lama'. Did you mean 'llama'"):
        check_startable(loaded("DecoderConfig.family=lama", files=files))


def test_a_model_dir_that_is_read_as_a_pattern_is_refused_before_anything_is_written(tmp_path):
    files = ("models/decoder_mini.gin", "runs/finetune.gin")
    with pytest.raises(UserError, match=r"the name '\[x\]' in it is read as a pattern"):
        check_startable(loaded(f"MODEL_DIR={tmp_path}/[x]/run", files=files))


def test_0_of_the_likeliest_tokens_are_all_of_them():
    parsed = build_parser().parse_args(["generate", "--model_dir", "run", "--top_k", "0", "text"])
    assert decoding_of(parsed) == DecodingConfig(method="sample")
