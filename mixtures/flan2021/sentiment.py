"""Sentiment: whether a review, a post or a sentence is positive or negative."""

from typing import Any

from flan_jax.data.sources.published import published
from flan_jax.tasks.fields import column, label, text
from flan_jax.tasks.spec import Record, TaskSpec, Template
from mixtures.flan_fields import register_flan

_POLARITY = ("negative", "positive")
# Five steps, as Sentiment140 numbers them. FLAN joins the two on either side and leaves the neutral ones out.
_FIVE_STEPS = ("negative", "negative", "neutral", "positive", "positive")


def _polarity(record: Record, passage: str) -> dict[str, Any] | None:
    answer = label(column(record, "label"), _POLARITY)
    return None if answer is None else {"text": passage, "answer": answer}


def _film_review(record: Record) -> dict[str, Any] | None:
    return _polarity(record, text(record, "text").replace("<br />", "\n"))


def _business_review(record: Record) -> dict[str, Any] | None:
    # The published files keep the escapes of the CSV that they were made from.
    return _polarity(record, text(record, "text").replace('\\""', '"').replace("\\n", " "))


def _sentence(record: Record) -> dict[str, Any] | None:
    return _polarity(record, text(record, "sentence", "text"))


def _tweet(record: Record) -> dict[str, Any] | None:
    answer = label(column(record, "sentiment", "polarity"), _FIVE_STEPS)
    return None if answer in (None, "neutral") else {"text": text(record, "text"), "answer": answer}


IMDB_REVIEWS = register_flan(
    TaskSpec(
        name="imdb_reviews",
        cluster="sentiment",
        collection="flan2021",
        title="IMDB reviews",
        source=published(
            "stanfordnlp/imdb",
            "plain_text",
            tfds="imdb_reviews/plain_text:1.0.0",
            train="train[:-200]",
            validation="train[-200:]",
            test="test",
            sizes={"train": 25_000, "test": 25_000},
            folders=("imdb_reviews", "imdb"),
            hash_shuffled=True,
        ),
        fields=_film_review,
        slots=("text", "answer"),
        options=_POLARITY,
        templates=(
            Template("Movie review: {text}\n\nWould you call this review positive or negative?\n\n{options}"),
            Template(
                "Read what a viewer wrote about a film and name the sentiment it expresses.\n\n"
                "{options}\n\nThe viewer's words: {text}"
            ),
            Template("{text}\n\nOverall, the opinion that the writer gives of the film is"),
            Template("Sentiment analysis of film reviews.\n\nReview: {text}\n\nSentiment:\n{options}"),
            Template(
                "You sort the letters that a cinema gets from its audience into praise and complaints. "
                "Here is one of them.\n\n{text}\n\nIs its attitude toward the film positive or negative?\n\n{options}"
            ),
            Template(
                "Somebody who had just seen a movie posted the following. On the whole, how do they feel about "
                "it?\n\n{text}\n\n{options}"
            ),
            Template(
                "Decide whether this reviewer recommends the picture (positive) or warns against it (negative): {text}"
            ),
            Template("Write a {answer} review of a movie.", "{text}", inverted=True),
            Template(
                "Imagine that you have just left the cinema and that your impression of the film is {answer}. "
                "Put your thoughts into writing.",
                "{text}",
                inverted=True,
            ),
            Template(
                "A film review is wanted for a website.\nSentiment of the review: {answer}\nReview:",
                "{text}",
                inverted=True,
            ),
        ),
    )
)


SENTIMENT140 = register_flan(
    TaskSpec(
        name="sentiment140",
        cluster="sentiment",
        collection="flan2021",
        title="Sentiment140",
        source=published(
            "stanfordnlp/sentiment140",
            "sentiment140",
            revision="refs/convert/parquet",
            tfds="sentiment140:1.0.0",
            train="train[:-200]",
            validation="train[-200:]",
            test="test",
            sizes={"train": 1_600_000, "test": 498},
            folders=("sentiment140",),
            hash_shuffled=True,
        ),
        fields=_tweet,
        slots=("text", "answer"),
        options=_POLARITY,
        templates=(
            Template("Tweet: {text}\n\nWhat sentiment does this tweet convey?\n\n{options}"),
            Template('"{text}"\n\nIs the person who tweeted this in a positive or a negative mood?'),
            Template("Label the tweet by its feeling, positive or negative.\n\n{options}\n\nTweet to label: {text}"),
            Template(
                "Does this message from a social network strike a positive or a negative note? {text}\n\n{options}"
            ),
            Template('A user posted: "{text}"\n\nThe sentiment of the post is'),
            Template(
                "We are measuring the mood on Twitter. Please classify the message as positive or negative.\n\n"
                "Message: {text}\n\nClass:\n{options}"
            ),
            Template("Write a short tweet whose sentiment is {answer}.", "{text}", inverted=True),
            Template(
                "Give an example of something that a person in a {answer} frame of mind might post on Twitter.",
                "{text}",
                inverted=True,
            ),
            Template("Sentiment: {answer}\nTweet with that sentiment:", "{text}", inverted=True),
            Template("Make up a message of at most 140 characters in a {answer} tone.", "{text}", inverted=True),
        ),
    )
)


YELP_POLARITY_REVIEWS = register_flan(
    TaskSpec(
        name="yelp_polarity_reviews",
        cluster="sentiment",
        collection="flan2021",
        title="Yelp polarity reviews",
        source=published(
            "fancyzhx/yelp_polarity",
            "plain_text",
            tfds="yelp_polarity_reviews:0.2.0",
            train="train[:-200]",
            validation="train[-200:]",
            test="test",
            sizes={"train": 560_000, "test": 38_000},
            folders=("yelp_polarity_reviews", "yelp_polarity"),
        ),
        fields=_business_review,
        slots=("text", "answer"),
        options=_POLARITY,
        templates=(
            Template(
                "A customer reviewed a local business as follows.\n\n{text}\n\n"
                "What was the customer's overall sentiment?\n\n{options}"
            ),
            Template("{text}\n\nWas this a positive or a negative experience for the person writing?\n\n{options}"),
            Template("Judge the Yelp review by its sentiment.\n\nReview: {text}\n\nJudgment:\n{options}"),
            Template("{options}\n\nGive the sentiment of the following Yelp review: {text}"),
            Template(
                "Suppose that you own the business which received this feedback: {text}\n\n"
                "Should you count it as positive or as negative?"
            ),
            Template("On Yelp one can read this: {text}\n\nThe reviewer's attitude toward the place is\n\n{options}"),
            Template(
                "The star rating has been hidden. From the words alone, tell whether the reviewer left satisfied "
                "(positive) or dissatisfied (negative).\n\nThe reviewer's words: {text}\n\n{options}"
            ),
            Template("Write a Yelp review that gives a {answer} impression of a place.", "{text}", inverted=True),
            Template(
                "Someone had a {answer} experience with a shop, a restaurant or some other service. "
                "What might they write about it online?",
                "{text}",
                inverted=True,
            ),
            Template(
                "Produce customer feedback on a business.\nSentiment wanted: {answer}\nFeedback:",
                "{text}",
                inverted=True,
            ),
        ),
    )
)


SST2 = register_flan(
    TaskSpec(
        name="sst2",
        cluster="sentiment",
        collection="flan2021",
        title="SST-2",
        source=published(
            "nyu-mll/glue",
            "sst2",
            tfds="glue/sst2:2.0.0",
            train="train[:-200]",
            validation="train[-200:]",
            test="validation",
            sizes={"train": 67_349, "validation": 872},
            folders=("sst2", "sst-2"),
        ),
        fields=_sentence,
        slots=("text", "answer"),
        options=_POLARITY,
        templates=(
            Template('This is part of a film review: "{text}" Is its sentiment positive or negative?\n\n{options}'),
            Template('"{text}"\n\nA critic wrote this about a movie. Name the sentiment behind it.'),
            Template(
                "Classify the sentiment of this line, which was taken from a movie review.\n\n{text}\n\n{options}"
            ),
            Template('In a review of a movie, the words "{text}" express a sentiment that is\n\n{options}'),
            Template("In one word, positive or negative: how does this snippet speak of the film?\n\nSnippet: {text}"),
            Template(
                "The designer of a film poster wants to know the tone of a quote before printing it. "
                "Name the tone.\n\n{options}\n\nQuote: {text}"
            ),
            Template(
                "Does the following piece of a review praise the film or fault it? "
                'Say "positive" for praise and "negative" for fault.\n\nPiece: {text}\n\n{options}'
            ),
            Template("What feeling toward the movie comes across in these words? {text}\n\n{options}"),
            Template("Write a sentence that could stand in a {answer} movie review.", "{text}", inverted=True),
            Template(
                "A film critic's view of tonight's premiere is {answer}. Produce a phrase or a sentence from the "
                "critic's column.",
                "{text}",
                inverted=True,
            ),
        ),
    )
)
