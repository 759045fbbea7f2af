"""Translation: eight pairs of English and another language, from the web and from the news."""

from flan_jax.data.sources.published import PublishedSource, published
from flan_jax.tasks.spec import TaskSpec
from mixtures.flan_fields import register_flan
from mixtures.translations import LANGUAGES, translation


def _wmt(year: int, config: str, sizes: tuple[int, int, int], folder: str, tfds: str) -> PublishedSource:
    """A language pair of a WMT news translation task."""
    return published(
        f"wmt/wmt{year}",
        config,
        tfds=f"{tfds}/{config}:1.0.0",
        train="train",
        validation="validation",
        test="test",
        sizes=dict(zip(("train", "validation", "test"), sizes, strict=True)),
        folders=(folder,),
    )


def _wmt16(code: str, sizes: tuple[int, int, int]) -> TaskSpec:
    name = f"wmt16_translate_{code}en"
    source = _wmt(16, f"{code}-en", sizes, name, "wmt16_translate")
    return register_flan(translation(name, f"WMT 2016 English-{LANGUAGES[code]}", code, source))


PARA_CRAWL_ENES = register_flan(
    translation(
        "para_crawl_enes",
        "ParaCrawl English-Spanish",
        "es",
        published(
            "para_crawl",
            "enes",
            revision="refs/convert/parquet",
            tfds="para_crawl/enes:1.2.0",
            train="train[:-1200]",
            validation="train[-1200:-1000]",
            test="train[-1000:]",
            sizes={"train": 21_987_267},
            folders=("para_crawl_enes",),
        ),
    )
)

WMT14_ENFR = register_flan(
    translation(
        "wmt14_enfr",
        "WMT 2014 English-French",
        "fr",
        _wmt(14, "fr-en", (40_836_715, 3_000, 3_003), "wmt14_enfr", "wmt14_translate"),
    )
)

WMT16_TRANSLATE_DEEN = _wmt16("de", (4_548_885, 2_169, 2_999))
WMT16_TRANSLATE_TREN = _wmt16("tr", (205_756, 1_001, 3_000))
WMT16_TRANSLATE_CSEN = _wmt16("cs", (997_240, 2_656, 2_999))
WMT16_TRANSLATE_FIEN = _wmt16("fi", (2_073_394, 1_370, 6_000))
WMT16_TRANSLATE_ROEN = _wmt16("ro", (610_320, 1_999, 1_999))
WMT16_TRANSLATE_RUEN = _wmt16("ru", (1_516_162, 2_818, 2_998))
