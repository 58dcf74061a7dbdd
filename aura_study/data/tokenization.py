"""Tokenizers, and texts tokenised once into flat arrays."""

import hashlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pooch
import tokenizers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from aura_study.data.corpus import Corpus, TaskSplit
from aura_study.data.quiet import first_line, quietly
from aura_study.data.scratch import scratch

MAX_LENGTH = 128
VOCABULARY = 4096
# RoBERTa's ids for the first four, which RobertaConfig assumes; a trained vocabulary's size varies, so its mask is 4.
SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
_SMALLEST = len(SPECIAL_TOKENS) + 256  # every byte has a token, so that no text is unknown
_BLOCK = 10_000  # texts tokenised at a time: as lists of numbers their tokens take ten times the final array
_VERSION = 1  # of the training recipe below: part of the cache key


@dataclass(frozen=True)
class TokenizedSplit:
    """Texts of one task as token ids, special tokens included, and their labels.

    Row ``i`` is ``ids[offsets[i]:offsets[i + 1]]``: ``ids`` is int32 ``(tokens,)``, ``offsets`` int64 ``(rows + 1,)``;
    ``pad`` is the id that fills a batch up.
    """

    ids: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray
    pad: int

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, int64 ``(rows,)``."""
        return np.diff(self.offsets)


def default_cache() -> Path:
    """Folder where trained tokenizers are kept, the user's cache folder."""
    return Path(pooch.os_cache("aura_study")) / "tokenizers"


def corpus_tokenizer(
    corpus: Corpus, vocabulary: int = VOCABULARY, cache: Path | None = None
) -> PreTrainedTokenizerFast:
    """Byte-level BPE tokenizer trained on the training texts of ``corpus``, with RoBERTa's special tokens and form.

    The same corpus and vocabulary give the same tokenizer. It is kept under ``cache`` (`default_cache` if not given),
    keyed by corpus digest, vocabulary and library version, with the digest of its own content in its name: a file that
    is not what its name says is not read. Where that folder cannot be written it is trained each time.

    Args:
        corpus: what to train on.
        vocabulary: most tokens to learn; a small corpus may have fewer pairs worth merging, so a model takes
            ``len(tokenizer)`` as the size of its vocabulary.
        cache: folder of kept tokenizers.

    Raises:
        ValueError: a vocabulary too small for the special tokens and the 256 bytes.
    """
    if vocabulary < _SMALLEST:
        raise ValueError(f"a byte-level vocabulary needs at least {_SMALLEST} tokens, got {vocabulary}")
    folder = cache if cache is not None else default_cache()
    name = f"bpe-{corpus.digest[:20]}-{vocabulary}-v{_VERSION}-{tokenizers.__version__}"
    for path in sorted(folder.glob(f"{name}-*.json")):
        content = path.read_bytes()
        if path.name == _named(name, content):
            return _wrapped(Tokenizer.from_buffer(content))
        print(f"{path} was altered since it was written; its tokenizer is trained again", file=sys.stderr)
    tokenizer = _train((text for split in corpus.train.values() for text in split.texts), vocabulary)
    content = tokenizer.to_str(pretty=True).encode()
    _keep(content, folder / _named(name, content))
    return _wrapped(tokenizer)


def _named(name: str, content: bytes) -> str:
    return f"{name}-{hashlib.sha256(content).hexdigest()[:16]}.json"


def pretrained_tokenizer(folder: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer among an encoder's files (`aura_study.data.encoders.encoder_folder`).

    Raises:
        ValueError: files that make no tokenizer, or one without a padding token, which batches need.
    """
    try:
        with quietly():
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # whatever transformers makes of files that are not what it expects
        raise ValueError(f"the tokenizer in {folder} could not be loaded: {first_line(error)}") from error
    if tokenizer.pad_token_id is None:
        raise ValueError(f"the tokenizer in {folder} has no padding token")
    return tokenizer


def tokenize(split: TaskSplit, tokenizer: PreTrainedTokenizerBase, max_length: int = MAX_LENGTH) -> TokenizedSplit:
    """All texts of ``split`` as token ids, at most ``max_length`` each; a truncated row keeps its closing token.

    Raises:
        ValueError: ``max_length`` too small to hold the special tokens and one more.
    """
    if max_length < (least := tokenizer.num_special_tokens_to_add() + 1):
        raise ValueError(f"max_length must be at least {least}, got {max_length}")
    lengths, ids = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]
    for start in range(0, len(split.texts), _BLOCK):
        rows = tokenizer(
            split.texts[start : start + _BLOCK],
            truncation=True,
            max_length=max_length,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        lengths.append(np.fromiter(map(len, rows), np.int64, len(rows)))
        ids.append(np.fromiter(chain.from_iterable(rows), np.int32, int(lengths[-1].sum())))
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    return TokenizedSplit(np.concatenate(ids), offsets, split.labels, tokenizer.pad_token_id)


def tokenize_splits(
    splits: dict[str, TaskSplit], tokenizer: PreTrainedTokenizerBase, max_length: int = MAX_LENGTH
) -> dict[str, TokenizedSplit]:
    """`tokenize` for every task of ``corpus.train`` or ``corpus.dev``."""
    return {task: tokenize(split, tokenizer, max_length) for task, split in splits.items()}


def _train(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    start, end = ((token, SPECIAL_TOKENS.index(token)) for token in ("<s>", "</s>"))
    tokenizer.post_processor = processors.RobertaProcessing(end, start, trim_offsets=True, add_prefix_space=False)
    return tokenizer


def _keep(content: bytes, path: Path) -> None:
    """Save under ``path`` in one step, so that two runs at once cannot read half a file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch(".keeping-", path.parent) as folder:
            fresh = folder / path.name
            fresh.write_bytes(content)
            fresh.replace(path)
    except OSError:
        return  # a cache that cannot be written is only slower


def _wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    start, pad, end, unknown, mask = SPECIAL_TOKENS
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=start,
        cls_token=start,
        eos_token=end,
        sep_token=end,
        pad_token=pad,
        unk_token=unknown,
        mask_token=mask,
        clean_up_tokenization_spaces=False,
    )
