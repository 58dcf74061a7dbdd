"""AURA's mixture from the public files, where they are at hand."""

import numpy as np
import pytest

from aura_study.data import aura as aura_module
from aura_study.data.aura import REPORTING_V10_1, load_aura, without
from aura_study.data.corpus import Corpus, TaskSplit
from aura_study.data.registry import load_corpus
from aura_study.data.sources import DataError, MissingDataError, status
from aura_study.data.tasks import TASK_NAMES
from aura_study.paths import DATA_VARIABLE


@pytest.fixture
def corpus(real_data) -> Corpus:
    return load_aura()


def test_every_registered_file_is_there_and_verified(real_data):
    """Names, layout and digests of the registry are those of the data folder."""
    assert all(state.verified for state in status())


def test_published_counts_are_read_to_the_row(corpus):
    """Rows kept plus rows dropped are the files' counts; the toxicity training set is AURA's, 8,005 / 3,930."""
    files = {
        "train/toxicity": 11_935,
        "train/emotion": 43_410,
        "train/sentiment": 6_920,
        "train/reporting": 6_440,
        "dev/toxicity": 1_324,
        "dev/emotion": 5_426,
        "dev/sentiment": 872,
        "dev/reporting": 73,
    }
    kept = {f"{kind}/{task}": len(getattr(corpus, kind)[task]) for kind in ("train", "dev") for task in TASK_NAMES}
    assert {key: kept[key] + corpus.dropped.get(key, 0) for key in kept} == files
    assert np.bincount(corpus.train["toxicity"].labels).tolist() == [8_005, 3_930]
    assert kept["train/reporting"] == 5_861
    # Two rows of the toxicity dev file repeat another's text, five more stand in train.
    assert corpus.dropped["dev/toxicity"] == 7


def test_no_text_stands_twice_nor_in_train_and_dev(corpus):
    """Texts are distinct within each split, and dev shares none with train, whatever the task."""
    trained = {text for split in corpus.train.values() for text in split.texts}
    for splits in (corpus.train, corpus.dev):
        assert all(len(set(split.texts)) == len(split) for split in splits.values())
    assert not any(trained.intersection(split.texts) for split in corpus.dev.values())


def test_quoted_speech_is_reported_in_both_reporting_sets(corpus):
    """The unified files code it 0 and the first set 1; here it is 1, and their common texts agree."""
    unified, examples = corpus.train["reporting"], load_aura(reporting="examples").train["reporting"]
    for split in (unified, examples):
        quoted = np.array([text.startswith(("He said", "She said", "According to")) for text in split.texts])
        assert quoted.any()
        assert split.labels[quoted].mean() > 0.95
    codes = dict(zip(unified.texts, unified.labels, strict=True))
    common = [text for text in examples.texts if text in codes]
    assert len(common) == 40
    assert [codes[text] for text in common] == [
        label for text, label in zip(examples.texts, examples.labels, strict=True) if text in codes
    ]


def test_the_first_reporting_set_has_100_balanced_rows(real_data):
    """50 reported, 50 direct."""
    assert np.bincount(load_aura(reporting="examples").train["reporting"].labels).tolist() == [50, 50]


def test_default_sizes_are_the_v10_2_runs_but_for_sentiment(real_data):
    """11,935 / 20,000 / 6,911 / 925: SST-2's sentence release has no 20,000 rows."""
    assert load_corpus("aura").sizes == {"toxicity": 11_935, "emotion": 20_000, "sentiment": 6_911, "reporting": 925}


def test_rows_can_be_limited_and_extended(real_data):
    """The last V10.1's reporting set had 1,600 rows, near balance; the choice depends on the seed alone."""
    rows = {"reporting": REPORTING_V10_1, "emotion": 10}
    first, again, other = (load_corpus("aura", seed=seed, rows=rows) for seed in (0, 0, 1))
    assert first.sizes == {"toxicity": 11_935, "emotion": 10, "sentiment": 6_911, "reporting": 1_600}
    assert first.train["reporting"].labels.mean() == pytest.approx(0.5, abs=0.05)
    assert first.digest == again.digest != other.digest


def test_an_unknown_reporting_set_is_an_error():
    """Before any file is read."""
    with pytest.raises(ValueError, match="reporting must be 'unified' or 'examples', got 'all'"):
        load_aura(reporting="all")


def test_without_data_the_error_names_the_first_missing_file(tmp_path, monkeypatch):
    """No download unasked."""
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    with pytest.raises(MissingDataError, match=r"aura/deberta_unified_train.csv is missing"):
        load_corpus("aura")


def test_a_unified_file_without_the_wanted_source_is_an_error(tmp_path, monkeypatch):
    """The error names the file and the source."""
    path = tmp_path / "unified.csv"
    path.write_text("text,label,source\nhello,1,reporting\n")
    monkeypatch.setattr(aura_module, "fetch", lambda name, download: path)
    with pytest.raises(DataError, match=r"unified.csv: no row has source 'toxicity'"):
        load_aura()


def test_emotion_labels_in_another_order_are_an_error(tmp_path, monkeypatch):
    """Ids mean nothing without the label file: its order is checked."""
    names = tmp_path / "labels.txt"
    names.write_text("joy\nanger\n")
    monkeypatch.setattr(aura_module, "fetch", lambda name, download: names)
    with pytest.raises(DataError, match=r"labels.txt: expected the labels \['anger', .* found \['joy', 'anger'\]"):
        aura_module._emotion("train", download=False)


def test_without_keeps_the_first_of_each_text():
    """Excluded texts go, repeated ones stay once, labels follow their rows."""
    split = without(TaskSplit(["a", "b", "a", "c", "b"], np.arange(5)), {"c"})
    assert split.texts == ["a", "b"]
    assert split.labels.tolist() == [0, 1]
