"""What the summarization, structure-to-text, translation and text formatting tasks make of a record."""

import itertools
import json

import pytest

import mixtures  # noqa: F401  (registers the tasks)
from flan_jax.data.sources.published import set_source_dir
from flan_jax.errors import UserError
from flan_jax.tasks.catalog import TASKS
from flan_jax.tasks.render import render_split
from flan_jax.tasks.spec import Prompted, PromptMode


def fields(task, **record):
    return TASKS.get(task).fields(record)


def test_a_news_article_loses_its_dateline_and_byline_and_nothing_else():
    article = "LONDON (CNN) -- It rained . The rain (so they say) -- a drizzle -- went on ."
    slots = fields("cnn_dailymail", article=article, highlights="Rain .")
    assert slots["text"] == "It rained . The rain (so they say) -- a drizzle -- went on ."
    article = "By . A Writer . Last updated at 9:15 AM on 3rd May 2011 . In 2012 . nothing happened ."
    assert fields("cnn_dailymail", article=article, highlights="x")["text"] == "In 2012 . nothing happened ."
    plain = "It rained . That was in 2013 . The rain went on ."
    assert fields("cnn_dailymail", article=plain, highlights="x")["text"] == plain


@pytest.mark.parametrize("document", ["a UNK said so .", "profits rose ## percent .", "", "   "])
def test_a_masked_or_empty_sentence_is_no_example(document):
    assert fields("gigaword", document=document, summary="a headline") is None


def test_articles_are_told_apart_without_line_ends_or_bars():
    slots = fields(
        "multi_news", document="One. NEWLINE_CHAR  NEWLINE_CHAR Still one. ||||| Two. |||||", summary="– Both."
    )
    assert slots == {"text": "Article 1: One.\nStill one.\n\nArticle 2: Two.", "answer": "Both."}
    assert fields("multi_news", document=" ||||| ", summary="x") is None


def test_a_news_item_is_read_whole_or_in_two_columns():
    assert fields("ag_news_subset", text="A win\\at last", label=1) == {"text": "A win at last", "answer": "Sports"}
    assert fields("ag_news_subset", title="A win", description="at last", label=3)["text"] == "A win at last"
    assert fields("ag_news_subset", text="A win", label=-1) is None


@pytest.mark.parametrize("critics", [{"1": "a", "2": "b"}, {"key": ["1", "2"], "value": ["a", "b"]}, ["a", "", "b"]])
def test_opinions_are_read_as_published_and_as_tfds_gives_them(critics):
    record = {"_movie_name": "the_pier", "_critics": critics, "_critic_consensus": "fine"}
    slots = fields("opinion_abstracts_rotten_tomatoes", **record)
    assert slots == {"movie": "The Pier", "reviews": "1. a\n2. b", "first_review": "a", "answer": "fine"}


def test_ten_opinions_are_shown_and_none_is_an_error():
    record = {"_movie_name": "x", "_critic_consensus": "y"}
    many = fields("opinion_abstracts_rotten_tomatoes", _critics=[str(i) for i in range(12)], **record)
    assert many["reviews"].splitlines()[-1] == "10. 9"
    with pytest.raises(UserError, match="'_critics' holds no text"):
        fields("opinion_abstracts_rotten_tomatoes", _critics={}, **record)


def test_sent_files_are_left_out_of_a_chat():
    slots = fields("samsum", dialogue="Al: look <file_photo>\r\nBo: 1 < 2, 3 > 2", summary="s")
    assert " ".join(slots["dialogue"].split()) == "Al: look Bo: 1 < 2, 3 > 2"


def test_triples_are_read_as_lists_and_with_bars():
    wanted = "(A b; city served; C), (A b; year; 1990)"
    bars = fields("web_nlg_en", input=["A_b | cityServed | C", "A_b | YEAR | 1990"], target="t", references=["u", "t"])
    lists = fields("dart", tripleset=[["A b", "cityServed", "C"], ["A b", "YEAR", "1990"]], target="", references=["u"])
    assert bars == {"facts": wanted, "answer": ("t", "u")}
    assert lists == {"facts": wanted, "answer": ("u",)}


@pytest.mark.parametrize("triple", ["a | b", ["a", "b"], ["a", "b", 3], 7])
def test_what_is_no_triple_is_refused(triple):
    with pytest.raises(UserError, match="subject, relation and object"):
        fields("dart", tripleset=[triple], target="t", references=[])


def test_attributes_keep_values_with_commas():
    slots = fields("e2e_nlg", mr="name[Fig, Plum], priceRange[£20-25]", ref="r")
    assert slots == {"facts": "name: Fig, Plum; price range: £20-25", "answer": ("r",)}
    with pytest.raises(UserError, match=r"must read name\[value\]"):
        fields("e2e_nlg", mr="name Fig", ref="r")


def test_all_pairs_translate_from_english_and_share_their_templates():
    specs = [
        spec
        for spec in map(TASKS.get, TASKS)
        if spec.cluster == "translation" and spec.collection in ("flan2021", "open")
    ]
    assert len(specs) == 13
    assert len({spec.templates for spec in specs}) == 1
    slots = fields("wmt16_translate_roen", translation={"ro": "Bună.", "en": "Hello."})
    assert slots == {
        "source": "Hello.", "source_language": "English", "target_language": "Romanian", "answer": "Bună."
    }  # fmt: skip
    with pytest.raises(UserError, match=r"translation\.ro"):
        fields("wmt16_translate_roen", translation={"de": "Hallo.", "en": "Hello."})


def test_text_is_spoilt_in_one_way_and_can_be_put_right():
    assert fields("true_case", translation={"en": "Über NASA!"}) == {"lower": "über nasa!", "answer": "Über NASA!"}
    assert fields("fix_punct", en="Naïve - it's £5.")["bare"] == "Naïve its 5"
    assert fields("word_segment", en="the\u00a0old  pier")["joined"] == "theoldpier"


@pytest.mark.parametrize(
    ("task", "text"), [("true_case", "all small."), ("fix_punct", "no  marks"), ("fix_punct", "?!")]
)
def test_text_with_nothing_to_put_right_is_no_example(task, text):
    assert fields(task, en=text) is None


def test_the_parts_of_the_corpus_do_not_overlap():
    parts = []
    for task in ("true_case", "fix_punct", "word_segment"):
        expressions = dict(TASKS.get(task).source.parts)
        parts += [expressions[split][6:-1].split(":") for split in ("train", "validation")]
    edges = [(int(start), int(stop)) for start, stop in parts]
    assert edges[0][0] == 0
    assert all(one[1] == other[0] for one, other in itertools.pairwise(edges))
    assert [TASKS.get("fix_punct").source.count(split) for split in ("train", "validation", "test")] == [
        30_000,
        200,
        3000,
    ]


def test_a_local_copy_takes_the_place_of_the_hub(tmp_path):
    folder = tmp_path / "translation" / "wmt16_translate_deen"
    folder.mkdir(parents=True)
    (folder / "test.jsonl").write_text(json.dumps({"en": "Bread.", "de": "Brot."}) + "\n", encoding="utf-8")
    set_source_dir(tmp_path)
    try:
        (example,) = render_split(Prompted(TASKS.get("wmt16_translate_deen"), PromptMode.ZS_OPT), "test")
    finally:
        set_source_dir(None)
    assert example.targets in ("Bread.", "Brot.")  # the latter but for an inverted template


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("task", "train", "test"),
    [
        ("dart", 2000, 500),
        ("e2e_nlg", 2000, 500),
        ("scitldr_a", 1992, 500),
        ("flores200_en_de", 997, 500),
        ("flores200_en_es", 997, 500),
        ("flores200_en_fr", 997, 500),
        ("flores200_en_ro", 997, 500),
        ("tatoeba_en_de", 2000, 500),
    ],
)
def test_every_record_of_the_copies_renders(task, train, test, realdata):
    set_source_dir(realdata / "nlp_clusters")
    try:
        counts = {
            split: sum(1 for _ in render_split(Prompted(TASKS.get(task), PromptMode.ZS_OPT), split))
            for split in ("train", "validation", "test")
        }
    finally:
        set_source_dir(None)
    assert (counts["train"] + counts["validation"], counts["test"]) == (train, test)
