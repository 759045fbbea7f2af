"""What preparing tells: texts that a vocabulary cannot say, that a template leaves out, that were merged or cleaned."""

import dataclasses
import json

import pytest

from flan_jax.data.chat.replies import dialog_task
from flan_jax.data.chat.templates import CHATML, ChatTemplate
from flan_jax.data.instructions import data_report, instruction_source, instruction_task
from flan_jax.data.prepare.config import PrepareConfig, TokenizeConfig
from flan_jax.data.prepare.conversations import ConversationTask
from flan_jax.data.prepare.notices import notices
from flan_jax.data.prepare.prepare import prepare
from flan_jax.data.prepare.split_job import read_outcome
from flan_jax.data.prepare.unknown_tokens import unknown_pieces
from flan_jax.data.sources.generated import generated
from flan_jax.data.tokenizers.bytes import ByteVocabulary
from flan_jax.data.tokenizers.words import WordVocabulary
from flan_jax.store.store import TokenStore
from flan_jax.tasks.spec import Prompted, Template

WORDS = WordVocabulary(("say", "it", "pear", "fig", "count", "Output", "Assistant", "User"), "words")
LENGTHS = {"inputs": 200, "targets": 200}


class WithoutUnknown(WordVocabulary):
    def __init__(self):
        super().__init__(("say",), "without")
        self.unk_id = None


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def prepared(tmp_path, task, vocabulary=WORDS, split="train", **options):
    store = TokenStore(tmp_path / "store")
    config = PrepareConfig(vocabulary, TokenizeConfig(LENGTHS, **options))
    report = prepare([(task, (split,))], config, store=store)
    return store, report.splits


def orders(tmp_path):
    answers = ["pear ☃ fig", "pear", "☃ ☂ 梨", "count"]
    path = write(
        tmp_path / "orders.jsonl", [{"instruction": "say it", "input": "", "output": text} for text in answers]
    )
    source = instruction_source(path, max_validation=0)
    return Prompted(instruction_task("orders", source, templates=(Template("{instruction}"),)))


def test_unknown_ids_are_counted_a_side_and_shown(tmp_path):
    store, (split,) = prepared(tmp_path, orders(tmp_path))
    assert split.unknown == {"inputs": 0, "targets": 4}
    assert split.unknown_examples == {"inputs": 0, "targets": 2}
    assert list(split.unknown_pieces["targets"]) == ["☃", "☂", "梨"]
    assert split.unknown_texts == {"targets": "pear ☃ fig"}
    stored = store.open(split.task, "train")
    assert sum(int((stored.targets(index) == WORDS.unk_id).sum()) for index in range(len(stored))) == 4
    (line,) = notices([split], vocabulary="words")
    assert line.startswith("warning: 4 ids in the targets of 2 of 4 examples are unknown to the vocabulary 'words'")
    assert "'☃' '☂' '梨', as in 'pear ☃ fig'" in line
    again = prepared(tmp_path, orders(tmp_path))[1][0]
    assert again.skipped
    assert notices([again], vocabulary="words") == [line]


def test_inputs_are_told_without_a_warning(tmp_path):
    task = dataclasses.replace(orders(tmp_path).spec, templates=(Template("☃☃ {instruction}"),))
    (line,) = notices(prepared(tmp_path, Prompted(task))[1])[:1]
    assert line.startswith(
        "8 ids in the inputs of 4 of 4 examples are unknown to the vocabulary (orders_zs_opt train 4)"
    )


@pytest.mark.parametrize("vocabulary", [ByteVocabulary(), WithoutUnknown()])
def test_a_vocabulary_that_says_everything_or_has_no_such_id_counts_nothing(tmp_path, vocabulary):
    store, (split,) = prepared(tmp_path, orders(tmp_path), vocabulary)
    manifest = store.open(split.task, "train").manifest
    assert manifest["tally"]["unknown"] == {"inputs": 0, "targets": 0}
    assert notices([split]) == []


def test_a_store_from_before_these_counts_is_read(tmp_path):
    store, (split,) = prepared(tmp_path, orders(tmp_path))
    stored = store.open(split.task, "train")
    new = ("unknown", "unknown_examples", "unknown_pieces", "unknown_texts", "unsaid", "unsaid_at", "merged")
    for name in new:
        del stored.manifest["tally"][name]
    assert notices([read_outcome(stored, None)]) == []


def test_pieces_are_characters_where_these_cannot_be_said_and_words_otherwise():
    assert list(unknown_pieces(WORDS, "pear pears ☃ fig ☃")) == ["pears", "☃"]


def talk(*turns):
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def conversations(*records, **options):
    return ConversationTask("talks", generated("talks", lambda split: list(records), 1), **options)


# As some published models do it: of an answer, what stands behind its reasoning.
NO_REASONING = ChatTemplate(
    "silent",
    "{% for m in messages %}<{{ m.role }}>{{ m.content.split('</think>')[-1] }}</{{ m.role }}>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}",
)
MARKED = dataclasses.replace(
    NO_REASONING,
    text=CHATML.text.replace("{{ message.content", "{{ message.content.split('</think>')[-1]"),
    special_tokens=CHATML.special_tokens,
)
THOUGHT = talk(("user", "3 x 7?"), ("assistant", "<think>\n7, 14, 21\n</think>\n\n21"))


@pytest.mark.parametrize("template", [NO_REASONING, MARKED])
@pytest.mark.parametrize("vocabulary", [ByteVocabulary(), WORDS])
def test_what_a_template_leaves_out_of_a_reply_is_counted(tmp_path, template, vocabulary):
    plain = talk(("user", "5 + 6?"), ("assistant", "  11\n"))
    _, (split,) = prepared(tmp_path, conversations(plain, THOUGHT, template=template), vocabulary)
    assert split.rewritten == {"assistant": 1}
    assert split.rewritten_at == ("record 1, message 1: '<think>\\n7, 14, 21\\n</think>\\n\\n21'",)
    assert any("leaves out or rewrites a part of 1 of the assistant's messages" in line for line in notices([split]))


@pytest.mark.parametrize("template", [NO_REASONING, MARKED])
@pytest.mark.parametrize("reply", ["<think>\nonly thoughts\n</think>", "<think>a</think> \n"])
def test_a_template_that_writes_nothing_of_a_reply_is_refused(tmp_path, refused_at, template, reply):
    task = conversations(
        talk(("user", "?"), ("assistant", reply), ("user", "!"), ("assistant", "b")), template=template
    )
    message = refused_at(lambda: prepared(tmp_path, task, ByteVocabulary()))
    assert "writes nothing of reply 1 ('<think>" in message
    assert "record 0" in message
    kept = conversations(*task.source.records("train"), THOUGHT, template=template)
    _, (split,) = prepared(tmp_path, kept, ByteVocabulary(), on_error="skip")
    assert (split.examples, split.unreadable) == (1, 1)


@pytest.fixture
def refused_at():
    from flan_jax.errors import UserError

    def message(call):
        with pytest.raises(UserError) as caught:
            call()
        return str(caught.value)

    return message


def test_a_message_that_a_template_leaves_out_is_counted_too(tmp_path):
    text = CHATML.text.replace(
        "{% for message in messages %}", "{% for message in messages if message.role != 'system' %}"
    )
    template = dataclasses.replace(CHATML, name="deaf", text=text)
    record = talk(("system", "Only in rhymes."), ("user", "Hi?"), ("assistant", "Ho."))
    _, (split,) = prepared(tmp_path, conversations(record, template=template), ByteVocabulary())
    assert split.rewritten == {"system": 1}
    _, (whole,) = prepared(tmp_path, conversations(record, template="chatml"), ByteVocabulary())
    assert whole.rewritten == {}


TWICE = talk(("system", "a"), ("user", "1"), ("user", "2"), ("assistant", "3"), ("assistant", "4"), ("assistant", "5"))


@pytest.mark.parametrize(
    "make", [conversations, lambda *records: Prompted(dialog_task("t", conversations(*records).source))]
)
def test_merged_messages_are_counted_in_both_views(tmp_path, make):
    _, (split,) = prepared(tmp_path, make(TWICE, talk(("user", "a"), ("assistant", "b"))), ByteVocabulary())
    assert split.merged == 3
    assert notices([split]) == [
        f"Merged with a message of the same speaker before them: 3 messages ({split.task} train 3)."
    ]


def test_messages_that_are_kept_apart_are_none(tmp_path):
    _, (split,) = prepared(tmp_path, conversations(TWICE, repeated="keep"), ByteVocabulary())
    assert split.merged == 0


def test_cleaning_is_told_once_a_file(tmp_path):
    records = [
        {"instruction": f"say {number}", "input": given, "output": answer}
        for number, (given, answer) in enumerate(
            [
                ("", "a"),
                ("<noinput>", "b"),
                ("N/A", "c"),
                ("", "<nooutput>"),
                ("", " "),
                ("", "d</s>"),
                ("", "As an AI, I do not."),
            ]
        )
    ]
    path = write(tmp_path / "mine.jsonl", records)
    task = Prompted(instruction_task("mine", instruction_source(path, clean=("refused",))))
    store = TokenStore(tmp_path / "store")
    splits = prepare(
        [(task, ("train", "validation"))], PrepareConfig(WORDS, TokenizeConfig(LENGTHS)), store=store
    ).splits
    cleaned, told = [line for line in notices(splits) if "mine.jsonl" in line]
    assert cleaned == (
        f"Cleaned {path} (7 records): empty left out 1; placeholders left out 1, changed 1; refused left out 1."
    )
    assert told.startswith(f"warning: {path} has what may stand for something else, and it stays as it is: ")
    assert "1 × answer that ends with a mark of the end" in told
    assert "1 × input that says there is none" in told


def test_a_report_counts_what_a_vocabulary_cannot_say(tmp_path):
    path = write(tmp_path / "t.jsonl", [talk(("user", "say ☃"), ("assistant", "☂ ☂"), ("user", "it")), THOUGHT])
    (file,) = data_report(path, vocabulary=WORDS).files
    assert file.unknown["inputs"] == {"ids": 4, "texts": 2, "pieces": ["☃", "3", "x", "7"]}
    assert file.unknown["targets"]["texts"] == 2
    assert file.unknown["targets"]["pieces"][0] == "☂"
    (file,) = data_report(path, vocabulary=ByteVocabulary()).files
    assert file.unknown["targets"] == {"ids": 0, "texts": 0, "pieces": []}
