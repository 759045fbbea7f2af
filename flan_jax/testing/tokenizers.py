"""Small tokenizers in the manner of GPT-2, T5, Llama and BERT, built on the spot and saved as folders."""

import json
from pathlib import Path
from typing import Any

TEXTS = [
    "the cat sat on the mat and the dog ran to the door",
    "a small red house by a large green tree; don't!",
    "user assistant system begin of text end turn s pad unk extra id",
    "<s> </s> <pad> a < b > c / d _0123456789 | im start",
] * 20
LLAMA_SPECIAL = ("<unk>", "<s>", "</s>")


def save(folder: Path, tokenizer: Any, config: dict[str, Any] | None = None, **edits: Any) -> Path:
    """``tokenizer.json``, its parts replaced by ``edits``, and ``tokenizer_config.json`` in a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {**json.loads(tokenizer.to_str()), **edits}
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    if config is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def byte_level(*special: str) -> Any:
    """As GPT-2's: bytes, 400 pieces, special tokens first."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(TEXTS, trainer)
    return made


def t5(extra_ids: int = 5) -> Any:
    """As T5's: Unigram with padding, end and unknown first, ``<extra_id_0>`` last, an end added to every text."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " ")])
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=90, special_tokens=special, unk_token="<unk>", show_progress=False)
    made.train_from_iterator([text.split("<s>")[0] for text in TEXTS], trainer)
    content = json.loads(made.to_str())
    sentinels = [f"<extra_id_{i}>" for i in range(extra_ids - 1, -1, -1)]
    content["model"]["vocab"] += [[piece, 0.0] for piece in sentinels]
    made = Tokenizer.from_str(json.dumps(content))
    made.add_special_tokens(sentinels)
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return made


def llama() -> Any:
    """As Llama's: pieces with ``▁`` for a space, 256 pieces for bytes, merges that could spell ``</s>``."""
    from tokenizers import Tokenizer, decoders, models, normalizers, processors

    pieces = [*LLAMA_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    merges = [("</", "s>"), ("<", "/"), ("s", ">"), ("▁", "t"), ("▁t", "h"), ("▁th", "e"), ("c", "a"), ("ca", "t")]
    letters = dict.fromkeys("▁abcdefghijklmnopqrstuvwxyz<>/.,!")
    pieces += [*letters, *(left + right for left, right in merges if left + right not in LLAMA_SPECIAL)]
    vocab = {piece: index for index, piece in enumerate(pieces)}
    ordered = [*merges[1:3], merges[0], *merges[3:]]
    made = Tokenizer(models.BPE(vocab, ordered, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.add_special_tokens(list(LLAMA_SPECIAL))
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return made


def bert() -> Any:
    """As BERT's: WordPiece, small letters, ``[SEP]`` at the end."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made.train_from_iterator(
        TEXTS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    )
    return made
