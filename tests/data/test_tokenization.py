"""Tokenizers: deterministic, lossless, in RoBERTa's form; texts tokenised once."""

import json
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aura_study.data import tokenization as tokenization_module
from aura_study.data.corpus import Corpus, TaskSplit
from aura_study.data.registry import load_corpus
from aura_study.data.tokenization import corpus_tokenizer, pretrained_tokenizer, tokenize, tokenize_splits


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return load_corpus(rows=300, dev_rows=40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("tokenizers")


@pytest.fixture(scope="module")
def tokenizer(corpus, folder):
    return corpus_tokenizer(corpus, vocabulary=600, cache=folder)


def no_training(*_):
    raise AssertionError("trained although a kept tokenizer is there")


def test_special_tokens_have_robertas_ids(tokenizer):
    """Start 0, padding 1, end 2, unknown 3, as RobertaConfig assumes; every row is wrapped in start and end."""
    assert [tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id] == [
        0,
        1,
        2,
        3,
    ]
    assert tokenizer.mask_token_id == 4
    ids = tokenizer("you fool")["input_ids"]
    assert (ids[0], ids[-1]) == (0, 2)
    assert len(tokenizer) <= 600


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(exclude_categories=("Cs",)), max_size=60))
def test_any_text_survives_the_round_trip(tokenizer, text):
    """Byte level: whatever the script, decoding the ids gives the text back, and no token is unknown."""
    if any(token in text for token in tokenization_module.SPECIAL_TOKENS):
        return
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert tokenizer.unk_token_id not in ids


def test_training_is_deterministic(corpus, tokenizer, tmp_path):
    """Three trainings from scratch and the kept one give the same ids, byte for byte the same file."""
    files = set()
    for attempt in range(3):
        again = corpus_tokenizer(corpus, vocabulary=600, cache=tmp_path / str(attempt))
        (file,) = (tmp_path / str(attempt)).iterdir()
        files.add(file.read_bytes())
        assert again.get_vocab() == tokenizer.get_vocab()
    assert len(files) == 1


def test_a_kept_tokenizer_is_not_trained_again(corpus, tokenizer, folder, monkeypatch):
    """The cache answers for the same corpus and vocabulary, and only for those."""
    monkeypatch.setattr(tokenization_module, "_train", no_training)
    kept = corpus_tokenizer(corpus, vocabulary=600, cache=folder)
    text = corpus.train["toxicity"].texts[0]
    assert kept(text)["input_ids"] == tokenizer(text)["input_ids"]
    with pytest.raises(AssertionError, match="trained although"):
        corpus_tokenizer(corpus, vocabulary=601, cache=folder)
    with pytest.raises(AssertionError, match="trained although"):
        corpus_tokenizer(load_corpus(rows=299), vocabulary=600, cache=folder)


def test_a_poisoned_cache_is_named_and_trained_again(corpus, tokenizer, tmp_path, capsys):
    """Merges taken out of the kept file, which still loads: not read, and put right."""
    corpus_tokenizer(corpus, vocabulary=600, cache=tmp_path)
    (path,) = tmp_path.iterdir()
    content = json.loads(path.read_text())
    content["model"]["merges"] = content["model"]["merges"][::2]
    path.write_text(json.dumps(content))
    text = corpus.train["toxicity"].texts[0]
    again = corpus_tokenizer(corpus, vocabulary=600, cache=tmp_path)
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert f"{path} was altered" in capsys.readouterr().err
    corpus_tokenizer(corpus, vocabulary=600, cache=tmp_path)
    assert not capsys.readouterr().err


def test_a_cache_that_cannot_be_written_is_only_slower(corpus, tokenizer, tmp_path):
    """The tokenizer comes all the same, and no half file is left."""
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert corpus_tokenizer(corpus, vocabulary=600, cache=blocked).get_vocab() == tokenizer.get_vocab()
    assert stat.S_ISREG(blocked.stat().st_mode)
    assert list(tmp_path.iterdir()) == [blocked]


def test_a_vocabulary_smaller_than_the_bytes_is_an_error(corpus):
    """5 special tokens and 256 bytes are the least."""
    with pytest.raises(ValueError, match="at least 261 tokens, got 260"):
        corpus_tokenizer(corpus, vocabulary=260)


def test_dev_texts_do_not_shape_the_tokenizer(corpus, tokenizer, tmp_path):
    """Trained on train alone: another dev split changes nothing."""
    other = Corpus(corpus.name, corpus.train, {})
    assert corpus_tokenizer(other, vocabulary=600, cache=tmp_path).get_vocab() == tokenizer.get_vocab()


def test_flat_tokens_are_each_texts_tokens(corpus, tokenizer):
    """Twin: every row of the flat arrays equals tokenising its text alone; labels are those of the split."""
    for task, tokenized in tokenize_splits(corpus.dev, tokenizer).items():
        split = corpus.dev[task]
        assert len(tokenized) == len(split) == len(tokenized.offsets) - 1
        assert tokenized.pad == tokenizer.pad_token_id
        for row, text in enumerate(split.texts):
            expected = tokenizer(text)["input_ids"]
            ids = tokenized.ids[tokenized.offsets[row] : tokenized.offsets[row + 1]]
            assert ids.tolist() == expected
            assert tokenized.lengths[row] == len(expected)
        np.testing.assert_array_equal(tokenized.labels, split.labels)


def test_a_truncated_row_keeps_its_closing_token(tokenizer):
    """At most max_length tokens, the last one the end token; shorter rows are untouched."""
    split = TaskSplit(["you fool " * 100, "short"], np.array([1, 0]))
    tokenized = tokenize(split, tokenizer, max_length=16)
    assert tokenized.lengths[0] == 16
    assert tokenized.ids[15] == tokenizer.eos_token_id
    assert tokenized.ids[: tokenized.offsets[1]].tolist()[:15] == tokenizer(split.texts[0])["input_ids"][:15]
    assert tokenized.ids[tokenized.offsets[1] :].tolist() == tokenizer("short")["input_ids"]


def test_max_length_must_leave_room_for_a_token(tokenizer):
    """Start, end and one more."""
    with pytest.raises(ValueError, match="max_length must be at least 3, got 2"):
        tokenize(TaskSplit(["a"], np.array([0])), tokenizer, max_length=2)


def test_an_encoders_own_tokenizer_comes_from_its_folder(tokenizer, tmp_path):
    """A saved tokenizer, loaded by its folder, gives the same ids."""
    tokenizer.save_pretrained(tmp_path)
    loaded = pretrained_tokenizer(str(tmp_path))
    assert loaded("you fool, well done")["input_ids"] == tokenizer("you fool, well done")["input_ids"]


def test_a_tokenizer_without_padding_is_refused(tokenizer, tmp_path):
    """Batches need a padding token: the error names the folder."""
    saved = pretrained_tokenizer(str(_saved(tokenizer, tmp_path / "with")))
    saved.pad_token = None
    with pytest.raises(ValueError, match="has no padding token"):
        pretrained_tokenizer(str(_saved(saved, tmp_path / "without")))


def _saved(tokenizer, folder: Path) -> Path:
    tokenizer.save_pretrained(folder)
    return folder
