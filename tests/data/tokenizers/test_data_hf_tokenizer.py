"""Vocabularies of the package tokenizers: special ids, padding, offsets, decoding and broken files."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flan_jax.data.chat.templates import CHATML, PLAIN, ChatTemplate
from flan_jax.data.chat.tokenize import ChatTokenizer
from flan_jax.data.prepare.config import PrepareConfig, TokenizeConfig
from flan_jax.data.prepare.tokenize import tokenize
from flan_jax.data.sources import base as sources
from flan_jax.data.tokenizers.encoding import GUARD, set_encoding_threads
from flan_jax.data.tokenizers.hf_tokenizer import HfVocabulary
from flan_jax.data.tokenizers.protocol import Vocabulary, check_special_ids, keeps_newlines
from flan_jax.data.tokenizers.registry import load_vocabulary
from flan_jax.data.tokenizers.sentencepiece import SentencePieceVocabulary
from flan_jax.data.tokenizers.token_display import display_pieces
from flan_jax.errors import UserError
from flan_jax.tasks.chat.conversation import Message
from flan_jax.tasks.spec import Rendered
from flan_jax.testing import tokenizers as made

pytest.importorskip("tokenizers")

END, START, STOP = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
QWEN = (END, START, STOP)
SIZE = 364  # of byte_level(END)
SPELLED = ["</s>", "<s>", "<pad>", "<unk>", END, START, STOP, "<extra_id_0>", "[SEP]", "[PAD]", "[MASK]"]


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("fast")
    qwen = {"eos_token": STOP, "pad_token": END, "bos_token": None}
    t5 = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return {
        "gpt2": made.save(root / "gpt2", made.byte_level(END)),
        "qwen": made.save(root / "qwen", made.byte_level(*QWEN), qwen),
        "t5": made.save(root / "t5", made.t5(), t5),
        "llama": made.save(root / "llama", made.llama(), {"eos_token": {"content": "</s>"}, "bos_token": "<s>"}),
        "bert": made.save(root / "bert", made.bert()),
    }


KINDS = ["gpt2", "qwen", "t5", "llama", "bert"]


@pytest.fixture(scope="session")
def vocabularies(folders) -> dict[str, HfVocabulary]:
    return {kind: HfVocabulary(folder) for kind, folder in folders.items()}


@pytest.fixture(params=KINDS)
def vocabulary(request, vocabularies) -> HfVocabulary:
    return vocabularies[request.param]


def test_it_does_what_a_vocabulary_does(vocabulary):
    text = "the cat sat on a mat"
    ids = vocabulary.encode(text)
    assert isinstance(vocabulary, Vocabulary)
    assert vocabulary.has_offsets
    assert vocabulary.decode(ids) == text
    assert vocabulary.encode_batch([text, "", text]) == [ids, [], ids]
    assert vocabulary.encode_batch([]) == [] == vocabulary.encode_arrays([])
    arrays = vocabulary.encode_arrays([text, "", "Ünknown  words, too"])
    assert [array.dtype for array in arrays] == [np.int32] * 3
    assert [array.tolist() for array in arrays] == vocabulary.encode_batch([text, "", "Ünknown  words, too"])
    assert vocabulary.decode([vocabulary.pad_id, *ids, vocabulary.pad_id, vocabulary.eos_id, ids[0]]) == text
    unknown = [] if vocabulary.unk_id is None else [vocabulary.unk_id]
    assert vocabulary.decode([vocabulary.size + 100]) == vocabulary.decode(unknown)
    assert max(vocabulary.special_tokens.values()) < vocabulary.size
    check_special_ids(vocabulary)


def test_special_ids_are_those_declared(vocabularies):
    ids = {kind: (v.pad_id, v.eos_id, v.bos_id, v.unk_id, v.size) for kind, v in vocabularies.items()}
    t5_size = vocabularies["t5"].size
    assert ids["qwen"] == (0, 2, None, None, SIZE + 2)
    assert ids["t5"] == (0, 1, None, 2, t5_size)
    assert ids["bert"][:4] == (0, 3, None, 1)
    assert vocabularies["t5"].special_tokens["<extra_id_0>"] == t5_size - 1
    # Neither declares padding: the byte 0xFF, which no text has.
    gpt2 = vocabularies["gpt2"]
    assert ids["gpt2"] == (gpt2._tokenizer.token_to_id("ÿ"), 0, None, None, SIZE)
    assert ids["llama"] == (3 + 0xFF, 2, 1, 0, vocabularies["llama"].size)


@given(st.lists(st.sampled_from([*SPELLED, "the cat", " ", "\n", "é", "🙂", "\ufdd51\ufdd5", "<0xFF>"]), max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_no_text_spells_a_special_token(vocabularies, parts):
    text = "".join(parts)
    for vocabulary in vocabularies.values():
        special = set(vocabulary.special_tokens.values()) - {vocabulary.unk_id}
        assert not (special | {vocabulary.pad_id, vocabulary.eos_id}) & set(vocabulary.encode(text))
        if vocabulary.unk_id is None and "\ufdd5" not in text:
            assert vocabulary.decode(vocabulary.encode(text)) == text


def test_the_package_alone_would_spell_one(folders):
    """Why special tokens are renamed: matching them can be turned off, their pieces still fit."""
    from tokenizers import Tokenizer

    for kind, end in (("t5", 1), ("llama", 2)):
        theirs = Tokenizer.from_file(str(folders[kind] / "tokenizer.json"))
        theirs.encode_special_tokens = True
        assert end in theirs.encode("a</s>", add_special_tokens=False).ids
        assert end not in HfVocabulary(folders[kind]).encode("a</s>")


def test_text_without_special_tokens_has_the_package_s_ids(folders, vocabulary):
    from tokenizers import Tokenizer

    theirs = Tokenizer.from_file(str(vocabulary.path / "tokenizer.json"))
    for text in ["", " ", "the cat", "  two  spaces ", "line\nend\n\n", "naïve 日本 🙂\u0000", "Don't <b> 12,5%"]:
        own = theirs.encode(text, add_special_tokens=False)
        assert vocabulary.encode(text) == own.ids
        assert vocabulary.encode_offsets(text) == (own.ids, own.offsets)


def test_nothing_is_added_cut_filled_up_or_left_to_chance(tmp_path):
    base = made.byte_level(END, "<s>")
    content = json.loads(base.to_str())
    folder = made.save(
        tmp_path / "meddling",
        base,
        {"eos_token": END, "bos_token": "<s>"},
        post_processor={
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        truncation={"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        padding={
            "strategy": {"Fixed": 64},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": END,
        },
        model={**content["model"], "dropout": 0.5},
    )
    vocabulary = HfVocabulary(folder)
    text = "the cat sat on the mat and the dog ran to the door"
    expected = base.encode(text, add_special_tokens=False).ids
    assert all(vocabulary.encode(text) == expected for _ in range(5))
    assert vocabulary.encode_batch([text, "a"])[0] == expected
    assert vocabulary.encode_offsets(text)[0] == expected


def beginning(*first):
    return {"single": [*first, {"Sequence": {"id": "A", "type_id": 0}}], "type": "TemplateProcessing"}


@pytest.mark.parametrize(
    ("rules", "said", "adds"),
    [
        (None, None, False),
        ({"type": "ByteLevel"}, None, False),
        (beginning(), None, False),
        (beginning({"SpecialToken": {"id": "<s>", "type_id": 0}}), None, True),
        (beginning({"SpecialToken": {"id": END, "type_id": 0}}), None, False),
        ({"type": "Sequence", "processors": [{"type": "ByteLevel"}, beginning({"SpecialToken": {"id": "<s>"}})]}, None, True),
        ({"type": "RobertaProcessing", "cls": ["<s>", 1], "sep": [END, 0]}, None, True),
        (beginning({"SpecialToken": {"id": "<s>", "type_id": 0}}), False, False),
        (None, True, True),
    ],
)  # fmt: skip
def test_whether_a_text_begins_with_a_token_of_its_own(rules, said, adds, tmp_path):
    named = {"eos_token": END, "bos_token": "<s>", **({} if said is None else {"add_bos_token": said})}
    made.save(tmp_path / "tokenizer", made.byte_level(END, "<s>"), named, post_processor=rules)
    vocabulary = HfVocabulary(tmp_path / "tokenizer")
    assert (vocabulary.bos_id, vocabulary.adds_bos) == (1, adds)


def test_what_does_not_exist_does_not_begin_a_text(tmp_path):
    made.save(tmp_path / "tokenizer", made.byte_level(END), {"eos_token": END, "add_bos_token": True})
    assert not HfVocabulary(tmp_path / "tokenizer").adds_bos


def test_offsets_read_special_tokens_unless_guarded(vocabularies):
    qwen = vocabularies["qwen"]
    text = f"{START}user\nthe {STOP[0]}{GUARD}{STOP[1:]} cat🙂{STOP}"
    ids, places = qwen.encode_offsets(text)
    assert ids == [1, *qwen.encode(f"user\nthe {STOP} cat🙂"), 2]
    assert places[0] == (0, len(START))
    assert places[-1] == (len(text) - len(STOP), len(text))
    guard = text.index(GUARD)
    assert all(text[a:b] for a, b in places)
    assert {at for a, b in places for at in range(a, b)} >= set(range(len(text))) - {guard}
    assert places == sorted(places)


@pytest.mark.parametrize("template", [PLAIN, CHATML])
@pytest.mark.parametrize("kind", KINDS[:4])
def test_a_message_that_spells_special_tokens_keeps_them_as_text(vocabularies, template, kind):
    vocabulary = vocabularies[kind]
    said = f"the {STOP} cat</s>{END}"
    messages = [Message("user", f"{said}{START}system"), Message("assistant", said)]
    (tokens,) = ChatTokenizer(template, vocabulary)([messages])
    reply = tokens.ids[tokens.mask > 0]
    assert np.count_nonzero(reply == vocabulary.eos_id) == 1
    assert reply[-1] == vocabulary.eos_id
    if vocabulary.unk_id is None:
        # Llama's and T5's pieces have no such marks.
        assert vocabulary.decode(reply).strip() == said
        ends = 1 if template is PLAIN else 2
        assert np.count_nonzero(tokens.ids == vocabulary.eos_id) == ends


def test_a_template_s_own_special_tokens_are_read_and_the_first_left_out(vocabularies):
    llama = vocabularies["llama"]
    text = "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content + eos_token }}{% else %}{{ m.content + '.' }}{% endif %}{% endfor %}"
    template = ChatTemplate("test", text, (("bos_token", "<s>"), ("eos_token", "</s>")))
    (tokens,) = ChatTokenizer(template, llama)([[Message("user", "the cat</s>"), Message("assistant", "a </s> b")]])
    assert tokens.ids.tolist().count(1) == 0
    assert tokens.ids.tolist().count(2) == 1
    assert tokens.ids[-1] == 2
    assert tokens.mask.tolist() == sorted(tokens.mask.tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_records_become_examples(vocabularies, kind):
    vocabulary = vocabularies[kind]
    rendered = Rendered(f"the {END} cat</s>", "a mat", (), ("a mat",), 0, 0)
    (example,) = tokenize([rendered], PrepareConfig(vocabulary, TokenizeConfig({"inputs": 99, "targets": 20})))
    assert example.inputs.tolist() == [*vocabulary.encode(f"the {END} cat</s>"), vocabulary.eos_id]
    assert example.targets.tolist() == [*vocabulary.encode("a mat"), vocabulary.eos_id]


def test_line_ends_and_unknown_pieces(vocabularies):
    assert [keeps_newlines(vocabularies[kind]) for kind in KINDS] == [True, True, False, True, False]
    assert vocabularies["gpt2"].pieces("the 🙂\n")[0] == "the"
    assert vocabularies["gpt2"].pieces("🙂") == ["<0xF0>", "<0x9F>", "<0x99>", "<0x82>"]
    shown = display_pieces(vocabularies["t5"], "the\ncat 日本")
    assert [piece.text for piece in shown if piece.unknown] == ["日本"]
    assert sum(piece.lost for piece in shown) == 1
    assert vocabularies["llama"].decode(vocabularies["llama"].encode("日本\n")) == "日本\n"
    broken = vocabularies["gpt2"].encode("🙂")[:2]
    assert vocabularies["gpt2"].decode(broken) == "\ufffd"


def test_it_travels_and_is_told_apart_by_content(vocabularies, folders, tmp_path):
    prints = {kind: vocabulary.fingerprint() for kind, vocabulary in vocabularies.items()}
    assert len(set(prints.values())) == len(prints)
    for kind, vocabulary in vocabularies.items():
        again = pickle.loads(pickle.dumps(vocabulary))
        assert (again.fingerprint(), again.encode("the cat")) == (prints[kind], vocabulary.encode("the cat"))
    copy = tmp_path / "copy"
    copy.mkdir()
    content = json.loads((folders["qwen"] / "tokenizer.json").read_text())
    (copy / "tokenizer.json").write_text(json.dumps(content, indent=2))
    config = {"eos_token": STOP, "pad_token": START, "model_max_length": 5}
    (copy / "tokenizer_config.json").write_text(json.dumps(config))
    assert HfVocabulary(copy).fingerprint() == prints["qwen"]
    (copy / "tokenizer_config.json").write_text(json.dumps({**config, "eos_token": END}))
    assert HfVocabulary(copy).fingerprint() != prints["qwen"]


def test_ids_of_configurations_count_where_no_text_is_named(folders, tmp_path):
    folder = made.save(tmp_path / "numbered", made.byte_level(*QWEN))
    assert HfVocabulary(folder).eos_id == 0
    (folder / "config.json").write_text(json.dumps({"eos_token_id": 1, "bos_token_id": 0, "pad_token_id": 5}))
    vocabulary = HfVocabulary(folder)
    # 5 is a piece of text, so it does not pad.
    assert (vocabulary.eos_id, vocabulary.bos_id, vocabulary.pad_id) == (1, 0, vocabulary._tokenizer.token_to_id("ÿ"))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 1], "pad_token_id": 0}))
    assert (HfVocabulary(folder).eos_id, HfVocabulary(folder).pad_id) == (2, 0)
    (folder / "special_tokens_map.json").write_text(json.dumps({"eos_token": END}))
    assert HfVocabulary(folder).eos_id == 0


def test_padding_that_ends_or_is_unknown_is_not_taken(tmp_path):
    ends = made.save(tmp_path / "ends", made.byte_level(END, "<pad>"), {"eos_token": END, "pad_token": END})
    assert HfVocabulary(ends).pad_id == 1
    content = json.loads(made.t5().to_str())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] != "<pad>"]
    content["model"]["vocab"][0][0] = "zz"
    for config in ({"eos_token": "</s>"}, {"eos_token": "</s>", "pad_token": "<unk>"}):
        bare = HfVocabulary(made.save(tmp_path / "bare", made.t5(), config, **content))
        assert (bare.pad_id, bare.eos_id, bare.unk_id) == (bare.size - 1, 1, 2)
        assert bare.size == len(content["model"]["vocab"]) + 1
        assert bare.decode([bare.pad_id]) == ""
        check_special_ids(bare)
    spells = made.save(tmp_path / "spells", made.llama(), {"eos_token": "</s>", "pad_token": "<unk>"})
    assert HfVocabulary(spells).pad_id == 0  # every byte has a piece, so nothing is unknown


def test_a_letter_that_pads_stays_a_letter(tmp_path):
    base = made.byte_level(END)
    folder = made.save(tmp_path / "letter", base, {"eos_token": END, "pad_token": "!"})
    vocabulary = HfVocabulary(folder)
    assert vocabulary.decode(vocabulary.encode("no!")) == "no!"
    assert vocabulary.pad_id == base.token_to_id("ÿ")


def test_tokens_that_only_the_configuration_knows(tmp_path):
    base = made.byte_level(END)
    decoder = {
        str(SIZE): {"content": "<think>", "special": False},
        str(SIZE + 1): {"content": STOP, "special": True},
        "0": {"content": END, "special": True},
    }
    config = {"eos_token": STOP, "added_tokens_decoder": decoder}
    vocabulary = HfVocabulary(made.save(tmp_path / "more", base, config))
    assert (vocabulary.size, vocabulary.eos_id) == (SIZE + 2, SIZE + 1)
    assert vocabulary.encode("<think>") == [SIZE]  # called a piece like any
    assert SIZE + 1 not in vocabulary.encode(STOP)
    config["added_tokens_decoder"][str(SIZE + 2)] = decoder.pop(str(SIZE + 1))
    with pytest.raises(UserError, match=rf"gives '<\|im_end\|>' the id {SIZE + 2}, but there it becomes {SIZE + 1}"):
        HfVocabulary(made.save(tmp_path / "gap", base, config))


def gpt2_pair(folder: Path, base, names=("vocab.json", "merges.txt")) -> Path:
    folder.mkdir()
    model = json.loads(base.to_str())["model"]
    (folder / names[0]).write_text(json.dumps(model["vocab"]))
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    (folder / names[1]).write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    return folder


@pytest.mark.parametrize("names", [("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")])
def test_gpt2_s_pair_of_files(tmp_path, vocabularies, names):
    folder = gpt2_pair(tmp_path / "pair", made.byte_level(END), names)
    pair = load_vocabulary(folder)
    text = f"the cat\n\nDon't 🙂 {END}"
    assert pair.encode(text) == vocabularies["gpt2"].encode(text)
    assert (pair.eos_id, pair.pad_id, pair.size) == (0, vocabularies["gpt2"].pad_id, SIZE)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer"}))
    with pytest.raises(UserError, match=r"not in GPT-2's manner \(CLIPTokenizer\).* tokenizer\.json only"):
        load_vocabulary(folder)
    (folder / "tokenizer_config.json").unlink()
    (folder / names[1]).write_text("th e\nbroken\n")
    with pytest.raises(UserError, match="'broken' is no merge"):
        load_vocabulary(folder)


def test_a_vocabulary_by_its_folder_or_file(folders, sentencepiece_models, tmp_path, monkeypatch):
    qwen = load_vocabulary(str(folders["qwen"]))
    assert qwen.name == "qwen"
    assert load_vocabulary(folders["qwen"]) is qwen
    assert load_vocabulary(folders["qwen"] / "tokenizer.json").fingerprint() == qwen.fingerprint()
    alone = tmp_path / "alone.json"
    alone.write_bytes((folders["qwen"] / "tokenizer.json").read_bytes())
    assert (load_vocabulary(alone).name, load_vocabulary(alone).eos_id) == ("alone", 0)
    sources.set_data_dir(folders["qwen"].parent)
    assert load_vocabulary("qwen").fingerprint() == qwen.fingerprint()
    for name in ("spiece.model", "tokenizer.model"):
        folder = tmp_path / name.partition(".")[0]
        folder.mkdir()
        (folder / name).write_bytes(sentencepiece_models["t5"].read_bytes())
        assert isinstance(load_vocabulary(folder), SentencePieceVocabulary)
        with pytest.raises(UserError, match=rf"no tokenizer\.json but a SentencePiece model. Name that: .*{name}"):
            HfVocabulary(folder)
        (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": STOP}))
        with pytest.raises(UserError, match=rf"ends a sequence with '<\|im_end\|>', but its {name} with '</s>'"):
            load_vocabulary(folder)


def test_a_changed_folder_is_read_again(tmp_path):
    folder = made.save(tmp_path / "changing", made.byte_level(*QWEN), {"eos_token": END})
    assert load_vocabulary(folder).eos_id == 0
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": STOP}))
    assert load_vocabulary(folder).eos_id == 2


def test_errors_say_what_is_looked_for(tmp_path):
    with pytest.raises(UserError, match=r"no tokenizer\.json, no vocab\.json with merges\.txt .* no spiece\.model"):
        load_vocabulary(tmp_path)
    (tmp_path / "vocab.txt").write_text("[PAD]\n")
    with pytest.raises(
        UserError, match=r"It has vocab\.txt of a tokenizer that only transformers reads: .*save_pretrained"
    ):
        load_vocabulary(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        load_vocabulary(tmp_path / "no.json")
    with pytest.raises(UserError, match=r"'org/model': .* does not exist. Name a folder or file"):
        load_vocabulary("org/model")
    for content, message in (
        ("[]", "a list where an object is expected"),
        ("{", "not valid JSON"),
        ('{"model_type": "t5"}', "describes no tokenizer"),
        ('{"model": {"type": "Nothing", "vocab": {"</s>": 0}, "merges": []}}', "cannot be built"),
        ('{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}', "no end-of-sequence token"),
        ('{"model": {"type": "Unigram", "vocab": [["a"]]}}', "need a text and an id each"),
    ):
        (tmp_path / "tokenizer.json").write_text(content)
        with pytest.raises(UserError, match=message):
            load_vocabulary(tmp_path)
    made.save(tmp_path, made.byte_level(END), {"eos_token": "<nowhere>"})
    with pytest.raises(UserError, match=f"ends a sequence with '<nowhere>', which is none of its {SIZE} pieces"):
        load_vocabulary(tmp_path)


def test_one_thread_changes_no_id(vocabulary, monkeypatch):
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    texts = [f"the cat {i} sat on the mat" for i in range(50)]
    before = vocabulary.encode_batch(texts)
    set_encoding_threads(1)
    try:
        assert os.environ["TOKENIZERS_PARALLELISM"] == "false"
        assert vocabulary.encode_batch(texts) == before
    finally:
        set_encoding_threads(-1)
    assert "TOKENIZERS_PARALLELISM" not in os.environ


def test_seqio_carries_it(folders, vocabularies):
    import tensorflow as tf

    from flan_jax.data.seqio_bridge.vocabulary import SeqioVocabulary, from_seqio

    theirs = SeqioVocabulary(str(folders["t5"]))
    assert theirs.vocab_size - 1 == vocabularies["t5"].special_tokens["<extra_id_0>"]
    assert (theirs.pad_id, theirs.eos_id, theirs.unk_id) == (0, 1, 2)
    ids = theirs.encode_tf(tf.constant("the cat")).numpy().tolist()
    assert ids == vocabularies["t5"].encode("the cat")
    assert theirs.decode([*ids, 1, 5]) == "the cat"
    assert from_seqio(theirs).fingerprint() == vocabularies["t5"].fingerprint()
    assert theirs == SeqioVocabulary(vocabularies["t5"])


def test_inspect_shows_its_pieces(folders, capsys):
    from flan_jax.cli.main import main

    assert main(["inspect", "add_numbers", "--tokens", "-n", "1", "--vocabulary", str(folders["gpt2"])]) == 0
    assert "as gpt2 reads them" in capsys.readouterr().out


@pytest.mark.realdata
def test_gpt2_s_own_files(realdata: Path):
    gpt2 = load_vocabulary(realdata / "tokenizers/gpt2")
    assert (gpt2.size, gpt2.eos_id, gpt2.unk_id) == (50_257, 50_256, None)
    assert gpt2.pad_id == 187
    assert gpt2.encode("Hello world") == [15496, 995]
    assert gpt2.encode("Hello, my dog is cute") == [15496, 11, 616, 3290, 318, 13779]
    assert gpt2.encode("\n\n") == [628]
    assert gpt2.encode("<|endoftext|>") == [27, 91, 437, 1659, 5239, 91, 29]
    assert gpt2.encode_offsets("Hello world<|endoftext|>")[0] == [15496, 995, 50256]
    text = "Ünïcode — 日本語 🦜\t  \r\n end"
    assert gpt2.decode(gpt2.encode(text)) == text
    check_special_ids(gpt2)
