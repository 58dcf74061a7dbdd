"""The embedded corpus: distinct, in proportion, reproducible, learnable but not trivially."""

import re
import time

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.multiclass import OneVsRestClassifier

from aura_study.data import embedded as embedded_module
from aura_study.data.corpus import Corpus
from aura_study.data.embedded import DEV_ROWS, PROPORTIONS, TRAIN_ROWS, apportion, generate
from aura_study.data.grammar import RULES, START
from aura_study.data.registry import load_corpus
from aura_study.data.tasks import TASK_NAMES, TASKS


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return generate(0)


def all_texts(corpus: Corpus) -> list[str]:
    return [text for splits in (corpus.train, corpus.dev) for split in splits.values() for text in split.texts]


def test_at_least_20_000_sentences_and_no_text_stands_twice(corpus):
    """No text is repeated within a task, across tasks, or between train and dev."""
    texts = all_texts(corpus)
    assert len(set(texts)) == len(texts)
    assert sum(corpus.sizes.values()) >= 20_000


def test_sizes_are_two_fifths_of_auras_mixture(corpus):
    """11,935 / 20,000 / 20,000 / 925 rows, scaled by 0.4."""
    assert corpus.sizes == {"toxicity": 4_774, "emotion": 8_000, "sentiment": 8_000, "reporting": 370}
    assert {task: len(split) for task, split in corpus.dev.items()} == DEV_ROWS


def test_generation_takes_less_than_two_seconds():
    """Generation is quick enough to repeat in every run."""
    start = time.perf_counter()
    generate(11)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize("kind", ["train", "dev"])
def test_class_proportions_are_auras(corpus, kind):
    """33 % toxic (3,930 of 11,935), 52 % positive, half reported, GoEmotions' share of each emotion within 1 %."""
    splits = getattr(corpus, kind)
    assert splits["toxicity"].labels.mean() == pytest.approx(3_930 / 11_935, abs=2e-3)
    assert splits["sentiment"].labels.mean() == pytest.approx(3_610 / 6_920, abs=2e-3)
    assert splits["reporting"].labels.mean() == 0.5
    shares = splits["emotion"].labels.mean(0)
    # Shares of each label in the 43,410 training rows of GoEmotions' Ekman grouping.
    np.testing.assert_allclose(shares, [0.1285, 0.0183, 0.0167, 0.4011, 0.3276, 0.0752, 0.1236], atol=0.01)
    assert (splits["emotion"].labels.sum(1) == 2).mean() == pytest.approx(0.0867, abs=0.01)


def test_labels_have_the_form_their_kind_says(corpus):
    """Class indices are int64 (n,); multi-label rows are float32 (n, 7), never empty."""
    for task, split in corpus.train.items():
        if TASKS[task].kind == "multilabel":
            assert split.labels.dtype == np.float32
            assert split.labels.shape == (len(split), 7)
            assert set(np.unique(split.labels.sum(1))) == {1, 2}
        else:
            assert split.labels.dtype == np.int64
            assert set(np.unique(split.labels)) == {0, 1}


def test_equal_seeds_give_equal_corpora_and_other_seeds_others(corpus):
    """The digest tells corpora apart and recognises the same one."""
    again, other = generate(0), generate(1)
    assert again.digest == corpus.digest
    assert all_texts(again) == all_texts(corpus)
    assert other.digest != corpus.digest
    assert len(set(all_texts(other)) & set(all_texts(corpus))) < len(all_texts(corpus)) / 2


@pytest.mark.parametrize("task", TASK_NAMES)
def test_bag_of_words_learns_each_task_but_not_perfectly(corpus, task):
    """Logistic regression on single words: well above the majority baseline, below 0.99 macro-F1."""
    vectorizer = CountVectorizer(token_pattern=r"[a-z@']+", min_df=2)
    features = vectorizer.fit_transform(corpus.train[task].texts)
    model = LogisticRegression(max_iter=500)
    if TASKS[task].kind == "multilabel":
        model = OneVsRestClassifier(model)
    model.fit(features, corpus.train[task].labels)
    truth = corpus.dev[task].labels
    score = f1_score(truth, model.predict(vectorizer.transform(corpus.dev[task].texts)), average="macro")
    shares = truth.mean(0) if truth.ndim == 2 else np.bincount(truth) / len(truth)
    majority = np.zeros_like(truth)
    majority[..., shares.argmax()] = 1
    majority = majority if truth.ndim == 2 else np.full_like(truth, shares.argmax())
    assert f1_score(truth, majority, average="macro", zero_division=0) + 0.3 < score < 0.99


def test_bigrams_read_sentiment_better_than_words(corpus):
    """Cue words stand under both labels: what tells them apart is composition."""
    scores = []
    for length in (1, 2):
        vectorizer = CountVectorizer(ngram_range=(1, length), min_df=2)
        features = vectorizer.fit_transform(corpus.train["sentiment"].texts)
        model = LogisticRegression(max_iter=500).fit(features, corpus.train["sentiment"].labels)
        predicted = model.predict(vectorizer.transform(corpus.dev["sentiment"].texts))
        scores.append(f1_score(corpus.dev["sentiment"].labels, predicted, average="macro"))
    assert scores[1] > scores[0] + 0.1


def test_every_rule_is_used_and_every_reference_has_a_rule():
    """The grammar has no dangling name and no dead rule, and a start rule for every label."""
    alternatives = [text for rule in (*RULES.values(), *START.values()) for text in rule]
    named = {name for text in alternatives for name in embedded_module._parsed(text)[1::2]}
    assert named <= set(RULES)
    assert set(RULES) - named == {"join"}, "only the writer itself joins clauses"
    assert set(START) == {f"{task.name}:{label}" for task in TASKS.values() for label in task.labels}


def test_apportion_keeps_the_total_and_is_within_one_of_each_share():
    """Largest remainders: the counts sum to the rows and no count is off by 1 or more."""
    proportions = PROPORTIONS["emotion"]
    for rows in (1, 7, 100, 999):
        given = apportion(proportions, rows)
        assert len(given) == rows
        for labels, share in proportions.items():
            assert abs(given.count(labels) - rows * share / sum(proportions.values())) < 1


def test_where_short_sentences_are_used_up_a_row_gets_a_clause_more(monkeypatch):
    """Rather than drawing ever longer for one that is left, which would make many rows dearer than few."""
    monkeypatch.setitem(embedded_module._WEIGHTED, "sentiment:positive", ([("fine",), ("good",)], [0.5, 1.0]))
    monkeypatch.setattr(embedded_module, "NOISE", 0.0)
    few = dict.fromkeys(TASK_NAMES, 1)
    split = generate(0, {**few, "sentiment": 12}, few).train["sentiment"]
    positive = [text for text, label in zip(split.texts, split.labels, strict=True) if label == 1]
    assert len(set(positive)) == len(positive) > 2
    assert {"fine", "good"} < set(positive)
    assert all(set(re.split("[ ]+", text)) & {"fine", "good"} for text in positive)


def test_a_grammar_that_runs_dry_says_so(monkeypatch):
    """Asking for more distinct sentences than there are ends in an error, not in an endless loop."""
    monkeypatch.setitem(embedded_module._WEIGHTED, "sentiment:positive", ([("fine",)], [1.0]))
    with pytest.raises(ValueError, match="no more distinct sentences for 'sentiment'"):
        generate(0)


@pytest.mark.parametrize("rows", [{"toxicity": 5}, {**TRAIN_ROWS, "reporting": 0}, {**TRAIN_ROWS, "irony": 3}])
def test_sizes_must_name_each_task(rows):
    """A missing, empty or unknown task is an error."""
    with pytest.raises(ValueError, match="train_rows must give at least 1 row"):
        generate(0, train_rows=rows)


def test_limits_keep_a_nested_subset_and_leave_dev_alone(corpus):
    """A smaller limit keeps a subset of what a larger one keeps, in the corpus's order; equal seeds keep equal rows."""
    small, large = load_corpus(rows=50), load_corpus(rows=200)
    for task in TASK_NAMES:
        kept = small.train[task].texts
        assert len(kept) == 50
        assert set(kept) < set(large.train[task].texts) < set(corpus.train[task].texts)
        assert kept == [text for text in corpus.train[task].texts if text in set(kept)]
        assert small.dev[task].texts == corpus.dev[task].texts
    assert load_corpus(rows=50).digest == small.digest != large.digest


def test_limits_by_task_and_for_dev():
    """A mapping limits the tasks it names; a limit above the size changes nothing."""
    limited = load_corpus(rows={"emotion": 10, "reporting": 10**9}, dev_rows=7)
    assert limited.sizes == {**TRAIN_ROWS, "emotion": 10}
    assert {len(split) for split in limited.dev.values()} == {7}


def test_bad_requests_name_what_is_wrong():
    """Unknown corpus, unknown task, limit below 1."""
    with pytest.raises(ValueError, match="unknown corpus 'imdb'; choose one of 'embedded', 'aura'"):
        load_corpus("imdb")
    with pytest.raises(ValueError, match=r"unknown tasks \['irony'\]; the tasks are"):
        load_corpus(rows={"irony": 5})
    with pytest.raises(ValueError, match=r"rows must keep at least 1 row of each task, got \{'emotion': 0\}"):
        load_corpus(rows={"emotion": 0})
