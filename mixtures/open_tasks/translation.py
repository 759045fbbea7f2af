"""Translation beside Flan 2021's: sentences of FLORES-200 and of Tatoeba."""

from flan_jax.data.sources.published import published
from flan_jax.tasks.catalog import register
from flan_jax.tasks.spec import TaskSpec
from mixtures.translations import LANGUAGES, translation


def _flores(code: str, script: str) -> TaskSpec:
    """English into one language of FLORES-200, whose ``dev`` trains and whose ``devtest`` tests."""
    return register(
        translation(
            f"flores200_en_{code}",
            f"FLORES-200 English-{LANGUAGES[code]}",
            code,
            published(
                "facebook/flores",
                f"eng_Latn-{script}",
                revision="refs/convert/parquet",
                train="dev[:-200]",
                validation="dev[-200:]",
                test="devtest",
                sizes={"dev": 997, "devtest": 1_012},
                folders=(f"flores200_en_{code}",),
            ),
            english=("sentence_eng_Latn", "eng_Latn"),
            other=(f"sentence_{script}", script),
            collection="open",
        )
    )


FLORES200_EN_DE = _flores("de", "deu_Latn")
FLORES200_EN_ES = _flores("es", "spa_Latn")
FLORES200_EN_FR = _flores("fr", "fra_Latn")
FLORES200_EN_RO = _flores("ro", "ron_Latn")

TATOEBA_EN_DE = register(
    translation(
        "tatoeba_en_de",
        "Tatoeba English-German",
        "de",
        # The Tatoeba Challenge is published without its training split; what it validates on trains here.
        published(
            "Helsinki-NLP/tatoeba_mt",
            "deu-eng",
            revision="refs/convert/parquet",
            train="validation[:-200]",
            validation="validation[-200:]",
            test="test",
            folders=("tatoeba_en_de",),
        ),
        english=("targetString", "en"),
        other=("sourceString", "de"),
        collection="open",
    )
)
