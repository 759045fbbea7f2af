"""A folder of transformers comes in, is trained on a mixture, goes out, and writes the same text in PyTorch as here."""

import json

import numpy as np
import pytest

from flan_jax.cli.main import main
from flan_jax.data.tokenizers.hf_tokenizer import HfVocabulary
from flan_jax.testing import tokenizers as made

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("default"),  # the peers' own warnings are not ours to forbid
]

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

PROMPTS = (
    "the cat sat on the mat. Is it a cat?",
    "a small red house by a large green tree",
    "the dog ran to the door and the cat",
)
LENGTHS = "{'inputs': 96, 'targets': 32}"
WRITTEN = 24


def flan_t5_shaped(folder):
    made.save(folder, made.t5(), {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"})
    config = transformers.T5Config(
        vocab_size=128, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_decoder_layers=2, num_heads=4,
        feed_forward_proj="gated-gelu", tie_word_embeddings=False, decoder_start_token_id=0, eos_token_id=1,
        pad_token_id=0, dropout_rate=0.0,
    )  # fmt: skip
    return transformers.T5ForConditionalGeneration(config)


def llama_shaped(folder):
    made.save(folder, made.llama(), {"eos_token": "</s>", "bos_token": "<s>", "unk_token": "<unk>"})
    config = transformers.LlamaConfig(
        vocab_size=384, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=256, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config)


def run(*arguments):
    assert main([str(argument) for argument in arguments]) == 0, arguments


@pytest.mark.parametrize("kind", [flan_t5_shaped, llama_shaped])
def test_a_folder_in_and_out(kind, tmp_path, capsys):
    source, imported, trained, out = (tmp_path / name for name in ("source", "imported", "trained", "out"))
    torch.manual_seed(0)
    kind(source).save_pretrained(source)
    run("import-hf", source, imported)
    run(
        "train", "--gin_file", "models/huggingface.gin", "--gin_file", "runs/finetune.gin",
        f"--gin.INITIAL_CHECKPOINT_PATH={imported}", "--gin.MIXTURE_OR_TASK_NAME=mini", "--gin.TRAIN_STEPS=20",
        f"--gin.TASK_FEATURE_LENGTHS={LENGTHS}", f"--gin.MODEL_DIR={trained}", "--gin.BATCH_SIZE=8",
        "--gin.LEARNING_RATE=0.01", "--gin.EvalConfig.suites=()",
    )  # fmt: skip
    run("export-hf", trained, out)
    capsys.readouterr()
    answers = []
    for prompt in PROMPTS:
        run("generate", "--model_dir", trained, "--max_tokens", WRITTEN, prompt)
        answers.append(capsys.readouterr().out.strip("\n"))
    assert answers == [torch_answer(out, prompt) for prompt in PROMPTS]
    assert all(answers), "a model that writes nothing shows nothing"
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    before = kind(tmp_path / "fresh").state_dict()
    after = load(out).state_dict()
    assert lines[-1]["step"] == 20
    assert any(not np.array_equal(before[name].numpy(), after[name].numpy()) for name in after)


def load(folder):
    kind = json.loads((folder / "config.json").read_text())["model_type"]
    loader = transformers.T5ForConditionalGeneration if kind == "t5" else transformers.LlamaForCausalLM
    model = loader.from_pretrained(folder)
    return model.eval()


def torch_answer(folder, prompt):
    model, vocabulary = load(folder), HfVocabulary(folder)
    ids = [*vocabulary.encode(prompt), vocabulary.eos_id]  # an instruction ends as in training
    if not model.config.is_encoder_decoder:
        ids = [model.config.bos_token_id, *ids]
    with torch.no_grad():
        written = model.generate(
            torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), do_sample=False,
            max_new_tokens=WRITTEN,
        )[0].tolist()  # fmt: skip
    written = written[1 if model.config.is_encoder_decoder else len(ids) :]
    return vocabulary.decode(written)
