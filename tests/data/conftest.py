"""A data folder of our own, and SentencePiece models trained on the spot."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flan_jax.data.sources import base as sources

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(autouse=True)
def no_data_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(sources.DATA_DIR_VARIABLE, raising=False)
    yield
    sources.set_data_dir(None)


@pytest.fixture
def fixtures() -> Path:
    sources.set_data_dir(FIXTURES)
    return FIXTURES


@pytest.fixture(scope="session")
def sentencepiece_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """``t5`` (pad 0, eos 1, unk 2), ``no_pad`` (unk 0, bos 1, eos 2), ``bare`` (neither pad nor bos), ``no_eos``."""
    import sentencepiece

    folder = tmp_path_factory.mktemp("sentencepiece")
    text = ["the cat sat on the mat and the dog ran to the door", "a small red house by a large green tree"] * 20
    ids = {
        "t5": {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
        "no_pad": {"unk_id": 0, "bos_id": 1, "eos_id": 2},
        "bare": {"eos_id": 0, "unk_id": 1, "bos_id": -1},
        "no_eos": {"pad_id": 0, "unk_id": 1, "bos_id": -1, "eos_id": -1},
    }
    for name, choice in ids.items():
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(text),
            model_prefix=str(folder / name),
            vocab_size=40,
            hard_vocab_limit=False,
            minloglevel=2,
            **choice,
        )
    return {name: folder / f"{name}.model" for name in ids}
