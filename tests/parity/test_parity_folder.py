"""A chat model's folder, asked here and through transformers: the same prompt, the same answer, ended by the same tokens."""

import json

import numpy as np
import pytest

from flan_jax.cli.main import main
from flan_jax.data.chat.templates import load_chat_template
from flan_jax.data.chat.tokenize import ChatTokenizer
from flan_jax.data.tokenizers.registry import load_vocabulary
from flan_jax.eval.decoding.config import DecodingConfig
from flan_jax.experiments.generate import Answerer
from flan_jax.experiments.weights.pretrained import run_of_folder
from flan_jax.tasks.chat.conversation import Message
from flan_jax.testing.folders import also_ends, chat_model

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("default"),  # the peers' own warnings are not ours to forbid
]

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

COUNT = 24
ASKED = ["the cat sat on", "where did the dog run to?", "a small red house", "user: <|turn|> </s>"]


@pytest.fixture(scope="module", params=[True, False], ids=["begins", "begins not"])
def begins(request):
    return request.param


@pytest.fixture(scope="module")
def folder(tmp_path_factory, begins):
    path = tmp_path_factory.mktemp("models") / "chat"
    chat_model(path, begins=begins, d_model=24)  # transformers wants it to be a multiple of the heads
    also_ends(path, 2, 3, 7)
    config = json.loads((path / "tokenizer_config.json").read_text(encoding="utf-8"))
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    (path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def theirs(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder), transformers.AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("beams", [1, 3])
def test_answers(folder, theirs, begins, chat, beams):
    model, tokenizer = theirs
    size = load_vocabulary(folder).size
    decoding = DecodingConfig("beam", beams=beams) if beams > 1 else DecodingConfig()
    ours = Answerer(
        run_of_folder(folder), max_tokens=COUNT, decoding=decoding,
        chat=load_chat_template(folder) if chat else None, ended=False,
    )  # fmt: skip
    ended = 0
    for text in ASKED[: len(ASKED) if chat else 3]:
        if chat:
            turns = [{"role": "user", "content": text.replace("<|turn|>", "turn")}]
            ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
        else:
            ids = [*[tokenizer.bos_token_id] * begins, *tokenizer.encode(text, add_special_tokens=False)]
        # Rows of the table behind the vocabulary are written by nobody here.
        written = model.generate(
            input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), num_beams=beams,
            max_new_tokens=COUNT, do_sample=False, pad_token_id=0, suppress_tokens=list(range(size, 400)),
        )[0, len(ids) :].tolist()  # fmt: skip
        end = next((place for place, token in enumerate(written) if token in (2, 3, 7)), len(written))
        ended += end < len(written)
        assert ours.answer(text.replace("<|turn|>", "turn")) == load_vocabulary(folder).decode(written[:end])
    assert ended < len(ASKED)


def test_the_prompt_has_the_same_ids_but_for_a_beginning_that_rows_have_anyway(folder, theirs, begins):
    _, tokenizer = theirs
    for text in ASKED[:3]:
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=False
        )
        found = ChatTokenizer(load_chat_template(folder), load_vocabulary(folder)).prompt([Message("user", text)])
        assert [*[tokenizer.bos_token_id] * begins, *found.tolist()] == list(ids)
    assert np.issubdtype(found.dtype, np.integer)


@pytest.mark.parametrize(
    "given", [{"repetition_penalty": 1.4}, {"num_beams": 3, "repetition_penalty": 0.8, "min_new_tokens": 4}]
)
def test_a_folder_s_own_settings_give_the_same_text(given, folder, theirs, begins, capsys):
    """``generate`` of both sides with nothing said but the file, which each reads for itself."""
    path = folder / "generation_config.json"
    before = path.read_text(encoding="utf-8")
    size = load_vocabulary(folder).size
    path.write_text(json.dumps({**json.loads(before), **given, "max_new_tokens": COUNT}), encoding="utf-8")
    try:
        model, tokenizer = transformers.AutoModelForCausalLM.from_pretrained(folder), theirs[1]
        for text in ASKED[:3]:
            ids = [*[tokenizer.bos_token_id] * begins, *tokenizer.encode(text, add_special_tokens=False)]
            written = model.generate(
                input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), pad_token_id=0,
                suppress_tokens=list(range(size, 400)),
            )[0, len(ids) :].tolist()  # fmt: skip
            end = next((place for place, token in enumerate(written) if token in (2, 3, 7)), len(written))
            assert main(["generate", "--model_dir", str(folder), text]) == 0
            said = capsys.readouterr()
            assert said.out == load_vocabulary(folder).decode(written[:end]) + "\n"
            assert f"max_new_tokens={COUNT}" in said.err
    finally:
        path.write_text(before, encoding="utf-8")
