"""Summarization of news: highlights, headlines, one sentence; and the section that a report belongs to.

The rest of the cluster, which is not news, is in ``summarization_beyond_news``.
"""

import re
from typing import Any

from flan_jax.data.sources.published import published
from flan_jax.tasks.fields import column, label, text
from flan_jax.tasks.spec import Record, TaskSpec, Template
from mixtures.flan_fields import register_flan
from mixtures.summaries import document_summary, filled, summaries

_SECTIONS = ("World", "Sports", "Business", "Science/Tech")
# What stands before the first sentence: "LONDON, England (Reuters) -- ", or a byline and the times of
# publication, each part of which ends in " . ".
_AGENCY = re.compile(r"^.{0,80}?\) -- ")
_BYLINE = re.compile(r"^By \. .{0,400}(?:PUBLISHED|UPDATED|Last updated)\b.{0,60}?\b20\d\d \. ", re.DOTALL)
# How Multi-News marks where an article and a paragraph end.
_BETWEEN_ARTICLES = "|||||"
_PARAGRAPH = re.compile(r"(?:\s*NEWLINE_CHAR)+\s*")


def _cnn_dailymail(record: Record) -> dict[str, Any] | None:
    if not filled(record, "article", "highlights"):
        return None
    article = _BYLINE.sub("", _AGENCY.sub("", text(record, "article"), count=1), count=1).strip()
    return {"text": article, "answer": text(record, "highlights")} if article else None


def _gigaword(record: Record) -> dict[str, Any] | None:
    slots = document_summary(record)
    # As FLAN: no masked words, no masked digits.
    masked = slots and any(mark in value for mark in ("UNK", "#") for value in slots.values())
    return None if masked else slots


def _multi_news(record: Record) -> dict[str, Any] | None:
    slots = document_summary(record)
    if slots is None:
        return None
    articles = [part.strip() for part in _PARAGRAPH.sub("\n", slots["text"]).split(_BETWEEN_ARTICLES)]
    labelled = [f"Article {number}: {article}" for number, article in enumerate(filter(None, articles), start=1)]
    if not labelled:
        return None
    return {"text": "\n\n".join(labelled), "answer": slots["answer"].lstrip("–").strip()}


def _newsroom(record: Record) -> dict[str, Any] | None:
    if not filled(record, "text", "title", "summary"):
        return None
    return {"text": text(record, "text"), "title": text(record, "title"), "answer": text(record, "summary")}


def _ag_news(record: Record) -> dict[str, Any] | None:
    answer = label(column(record, "label"), _SECTIONS)
    report = text(record, "text", "description")
    if record.get("text") is None and filled(record, "title"):
        report = f"{text(record, 'title')} {report}"
    # A backslash stands for a line end of the page that the report was read from.
    return None if answer is None else {"text": report.replace("\\", " "), "answer": answer}


CNN_DAILYMAIL = register_flan(
    summaries(
        "cnn_dailymail",
        "CNN / Daily Mail",
        published(
            "abisee/cnn_dailymail",
            "3.0.0",
            tfds="cnn_dailymail:3.1.0",
            train="train",
            validation="validation",
            test="test",
            sizes={"train": 287_113, "validation": 13_368, "test": 11_490},
            folders=("cnn_dailymail",),
        ),
        _cnn_dailymail,
        ("text",),
        (
            Template("{text}\n\nGive the main points of this news article."),
            Template("News article: {text}\n\nHighlights:"),
            Template(
                "An editor needs the key facts of the report below to print beside its headline. "
                "Write them as a few short sentences.\n\n{text}"
            ),
            Template("What are the highlights of the following story?\n\n{text}"),
            Template(
                "Please condense this news story into three or four sentences "
                "that a hurried reader could take in at a glance: {text}"
            ),
            Template("{text}\n\nThe story in brief:"),
            Template(
                "Read the article and note down what is worth remembering.\n\nArticle: {text}\n\nWorth remembering:"
            ),
            Template("Write a full news article whose highlights are these: {answer}", "{text}", inverted=True),
            Template("{answer}\n\nThese sentences sum up a news story. Tell the whole of it.", "{text}", inverted=True),
            Template(
                "Expand the key points into a complete newspaper report.\n\nKey points: {answer}\n\nReport:",
                "{text}",
                inverted=True,
            ),
        ),
    )
)


GIGAWORD = register_flan(
    summaries(
        "gigaword",
        "Gigaword headlines",
        published(
            "Harvard/gigaword",
            revision="refs/convert/parquet",
            tfds="gigaword:1.2.0",
            train="train",
            validation="validation",
            test="test",
            sizes={"train": 3_803_957, "validation": 189_651, "test": 1_951},
            folders=("gigaword",),
        ),
        _gigaword,
        ("text",),
        (
            Template("{text}\n\nWrite a headline for this sentence from a news story."),
            Template("Opening sentence of the report: {text}\n\nHeadline of the report:"),
            Template("Shorten this sentence to a headline of no more than ten words.\n\n{text}"),
            Template("How could a newspaper put this news in one short line? {text}"),
            Template(
                "A news agency has sent the words below. Reduce them to their core, "
                "in the clipped style of a headline.\n\n{text}"
            ),
            Template(
                "Here is how a news item begins: {text}\n\nIts title should give the gist. What could the title be?"
            ),
            Template("Summarize in a few words what happened, leaving out every detail: {text}"),
            Template("{text}\n\nAs a headline, this becomes:"),
            Template(
                "Headline: {answer}\n\nWrite the first sentence of the news story under this headline.",
                "{text}",
                inverted=True,
            ),
            Template('How might a report headed "{answer}" begin?', "{text}", inverted=True),
        ),
    )
)


MULTI_NEWS = register_flan(
    summaries(
        "multi_news",
        "Multi-News",
        published(
            "alexfabbri/multi_news",
            revision="refs/convert/parquet",
            tfds="multi_news:1.0.0",
            train="train",
            validation="validation",
            test="test",
            sizes={"train": 44_972, "validation": 5_622, "test": 5_622},
            folders=("multi_news",),
        ),
        _multi_news,
        ("text",),
        (
            Template("{text}\n\nSummarize this coverage of a news event."),
            Template("Several newspapers covered the same event. Combine their accounts into one summary.\n\n{text}"),
            Template(
                "Below is everything that the press wrote about one story. {text}\n\n"
                "Write a paragraph that tells a reader all that matters in it, without repeating anything."
            ),
            Template("{text}\n\nWhat happened, according to the press?"),
            Template(
                "You compile a daily news digest. Write the entry for the story that these sources cover."
                "\n\n{text}\n\nDigest entry:"
            ),
            Template("Task: multi-document summarization.\n\nDocuments: {text}\n\nSummary:"),
            Template(
                "Read all of this before you answer. What would somebody who has seen none of these reports "
                "need to know?\n\n{text}"
            ),
            Template("Please merge these news reports into one short, coherent overview: {text}"),
            Template(
                "Summary of the coverage of an event: {answer}\n\n"
                "Write the newspaper articles that were summarized. Number them, starting with Article 1.",
                "{text}",
                inverted=True,
            ),
            Template(
                "{answer}\n\nThat is, in short, what the press said. Reconstruct the reports and number them.",
                "{text}",
                inverted=True,
            ),
        ),
    )
)


NEWSROOM = register_flan(
    summaries(
        "newsroom",
        "Newsroom",
        # Given out on request only: the hub has its description, the records come from a local folder.
        published(
            "lil-lab/newsroom",
            tfds="newsroom:1.0.0",
            train="train",
            validation="validation",
            test="test",
            sizes={"train": 995_041, "validation": 108_837, "test": 108_862},
            folders=("newsroom",),
        ),
        _newsroom,
        ("text", "title"),
        (
            Template("{text}\n\nSum up this article in a sentence or two."),
            Template("Title: {title}\n\nArticle: {text}\n\nSummary:"),
            Template(
                'Under the headline "{title}" a newspaper printed the text below. What does it say, in short?\n\n{text}'
            ),
            Template("Write the teaser that a news website would show for the following article.\n\n{text}"),
            Template(
                '{text}\n\nThis was published as "{title}". Tell someone who has no time to read it what it says.'
            ),
            Template("Could you tell me briefly what this piece of journalism is about? {text}"),
            Template(
                "The front page of an online newspaper describes every article in one or two lines.\n\n"
                "Article: {text}\n\nIts description:"
            ),
            Template("What title would suit this article? {text}", "{title}", inverted=True),
            Template(
                "Headline: {title}\n\nAbstract: {answer}\n\nWrite the newspaper article that belongs to them.",
                "{text}",
                inverted=True,
            ),
            Template(
                "All you know of a newspaper article is this summary. Suggest a headline for it.\n\n{answer}",
                "{title}",
                inverted=True,
            ),
        ),
    )
)


XSUM = register_flan(
    summaries(
        "xsum",
        "XSum",
        published(
            "EdinburghNLP/xsum",
            revision="refs/convert/parquet",
            tfds="huggingface:xsum",
            train="train",
            validation="validation",
            test="test",
            sizes={"train": 204_045, "validation": 11_332, "test": 11_334},
            folders=("xsum",),
        ),
        document_summary,
        ("text",),
        (
            Template("{text}\n\nWhat is this article about? Answer in one sentence."),
            Template("BBC report: {text}\n\nOne-sentence summary:"),
            Template(
                "Write a single sentence that introduces the following news report and says what is new in it.\n\n{text}"
            ),
            Template(
                "If you had to tell a friend the essence of this report in one breath, what would you say?\n\n{text}"
            ),
            Template("The first line of a report, which gave the news in brief, has been lost. Restore it.\n\n{text}"),
            Template("Boil this news story down to one sentence: {text}"),
            Template("Article: {text}\n\nQuestion: What is the news here?\n\nAnswer:"),
            Template(
                "As a radio presenter, you read out one sentence for each story of the day. "
                "Which sentence would you read for this one? {text}"
            ),
            Template(
                "A news report opens with this sentence: {answer}\n\nContinue the report.", "{text}", inverted=True
            ),
            Template(
                "Write an article for a news website. It should give the background and the details of the following news: {answer}",
                "{text}",
                inverted=True,
            ),
        ),
    )
)


AG_NEWS_SUBSET = register_flan(
    TaskSpec(
        name="ag_news_subset",
        cluster="summarization",
        collection="flan2021",
        title="AG News",
        source=published(
            "fancyzhx/ag_news",
            tfds="ag_news_subset:1.0.0",
            train="train[:-200]",
            validation="train[-200:]",
            test="test",
            sizes={"train": 120_000, "test": 7_600},
            folders=("ag_news_subset", "ag_news"),
        ),
        fields=_ag_news,
        slots=("text", "answer"),
        options=_SECTIONS,
        templates=(
            Template("{text}\n\nWhat is the topic of this news item?\n\n{options}"),
            Template(
                "In which section of a newspaper would you expect the text below: "
                "World, Sports, Business or Science/Tech?\n\n{text}"
            ),
            Template(
                "Assign the agency report to a section of the newspaper.\n\n{options}\n\nReport: {text}\n\nSection:"
            ),
            Template("News in brief: {text}\n\nThis belongs under the heading\n\n{options}"),
            Template(
                "You look after a news website, and a dispatch comes in: {text}\n\n"
                "Say which of your four pages it goes on: World, Sports, Business or Science/Tech."
            ),
            Template("Topic classification.\n\nNews item: {text}\n\n{options}\n\nTopic:"),
            Template(
                "Someone who follows a single kind of news decides to read this. Which kind is it? {text}\n\n{options}"
            ),
            Template(
                "Does the story concern world affairs (World), sport (Sports), the economy (Business), or research "
                "and technology (Science/Tech)?\n\n{options}\n\nStory: {text}"
            ),
            Template(
                "Write the beginning of a news item for the {answer} section of a newspaper.", "{text}", inverted=True
            ),
            Template(
                'Make up a headline and a first sentence for a report in the category "{answer}".',
                "{text}",
                inverted=True,
            ),
        ),
    )
)
