"""Scores of probabilities, and the bag of words that a control is held against."""

import math

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score
from small_runs import model, prepared

from aura_study.claims import Measurement, Verdict
from aura_study.claims.rules import ADEQUACY, Gains
from aura_study.data.corpus import Corpus, TaskSplit
from aura_study.data.embedded import generate
from aura_study.data.tasks import TASK_NAMES, TASKS, Task
from aura_study.training.adequacy import adequacy, bag_of_words, least_above
from aura_study.training.scores import best_thresholds, development, measures, predictions, probabilities, truth


def twin_auc(true: np.ndarray, probability: np.ndarray) -> float:
    """Share of the pairs of a row with and a row without a label that stand in the right order, a tie being half."""
    areas = []
    for label in range(true.shape[1]):
        yes, no = probability[true[:, label] == 1, label], probability[true[:, label] == 0, label]
        if len(yes) and len(no):
            areas.append(np.mean([(a > b) + 0.5 * (a == b) for a in yes for b in no]))
    return float(np.mean(areas))


@pytest.mark.parametrize("task", TASK_NAMES)
def test_measures_are_what_a_loop_finds(task):
    """Of a real, untrained model: every pair of rows for the area, every row for the log loss."""
    split = prepared().dev[task]
    probability, true = probabilities(model(), task, split)
    assert probability.shape == true.shape == (len(split), len(TASKS[task].labels) if true.shape[1] > 1 else 1)
    found = measures(task, probability, true)
    assert found["auc"] == pytest.approx(twin_auc(true, probability))
    terms = -np.log(np.where(true == 1, probability, 1 - probability))
    twin = terms[true == 1].mean() if TASKS[task].kind == "multiclass" else terms.mean()
    assert found["log_loss"] == pytest.approx(twin)
    assert development(model(), prepared().dev)[task] == found


@pytest.mark.parametrize("task", TASK_NAMES)
def test_the_best_thresholds_are_those_that_no_other_beats(task):
    """Twin: scikit-learn's F1 at every midpoint, of a real, untrained model with ties among its probabilities."""
    probability, true = probabilities(model(), task, prepared().train[task])
    probability = probability.round(3)
    for label, cut in enumerate(best_thresholds(probability, true)):
        values = np.unique(probability[:, label])
        others = [0.0, *(values[:-1] + values[1:]) / 2]
        best = max(f1_score(true[:, label], probability[:, label] > other, zero_division=0) for other in others)
        assert f1_score(true[:, label], probability[:, label] > cut) == pytest.approx(best)


def test_a_label_that_no_row_has_or_every_row_keeps_a_half():
    """Nothing can be chosen there, nor where a probability is no number."""
    true = np.array([[0, 1, 0], [0, 1, 1], [0, 1, 1]])
    assert best_thresholds(np.full((3, 3), 0.2), true).tolist()[:2] == [0.5, 0.5]
    assert best_thresholds(np.full((3, 3), math.nan), true).tolist() == [0.5] * 3


def test_thresholds_of_the_training_rows_judge_the_development_rows():
    """Macro-F1 is that of the two steps by hand; area and log loss know no threshold."""
    net, train, dev = model(), prepared().train, prepared().dev
    found, plain = development(net, dev, train), development(net, dev)
    for task, split in dev.items():
        probability, true = probabilities(net, task, split)
        cuts = best_thresholds(*probabilities(net, task, train[task]))
        guess, labels = (probability > cuts).astype(int), true
        if TASKS[task].kind == "multiclass":
            guess, labels = guess[:, 1], true[:, 1]
        assert found[task]["macro_f1"] == pytest.approx(f1_score(labels, guess, average="macro", zero_division=0))
        assert (found[task]["auc"], found[task]["log_loss"]) == (plain[task]["auc"], plain[task]["log_loss"])


def test_perfect_and_reversed_answers_score_one_and_nothing():
    """Areas 1 and 0, macro-F1 1 and 0; a label that no row has, or all have, is left out of the area."""
    true = truth("emotion", np.array([[1, 0, 1, 0, 0, 0, 1], [0, 1, 1, 0, 0, 0, 0]]))
    assert measures("emotion", true.astype(float), true)["auc"] == 1
    assert measures("emotion", 1.0 - true, true)["auc"] == 0
    labels = truth("toxicity", np.array([0, 1, 1]))
    assert measures("toxicity", labels.astype(float), labels)["macro_f1"] == 1
    assert measures("toxicity", 1.0 - labels, labels)["macro_f1"] == 0
    assert math.isnan(measures("toxicity", labels[1:] * 1.0, labels[1:])["auc"])


def test_of_three_classes_the_likeliest_is_predicted(monkeypatch):
    """And the log loss is that of the true one; no task has three today."""
    monkeypatch.setitem(TASKS, "sentiment", Task("sentiment", "multiclass", ("negative", "neutral", "positive")))
    true = truth("sentiment", np.array([0, 1, 2, 2]))
    probability = np.array([[0.4, 0.3, 0.3], [0.1, 0.2, 0.7], [0.2, 0.2, 0.6], [0.3, 0.3, 0.4]])
    found = measures("sentiment", probability, true)
    assert found["macro_f1"] == pytest.approx((1 + 0 + 4 / 5) / 3)
    assert found["log_loss"] == pytest.approx(-np.log([0.4, 0.2, 0.6, 0.4]).mean())


def test_a_label_is_predicted_above_a_half_and_an_empty_answer_to_an_empty_row_is_right():
    """F1 row by row, by hand: 1/2 itself is not above; nothing found where nothing is counts 1, not 0."""
    true = truth("emotion", np.eye(4, 7, dtype=int))
    true[3] = 0
    probability = np.zeros_like(true, dtype=float)
    probability[0, 0], probability[1, 1], probability[2, [2, 3]] = 0.51, 0.5, (0.6, 0.9)
    assert measures("emotion", probability, true)["samples_f1"] == pytest.approx((1 + 0 + 2 / 3 + 1) / 4)
    single = truth("toxicity", np.array([1, 1, 0, 0]))
    assert measures("toxicity", np.stack([1 - np.r_[0.51, 0.5, 0.5, 0.1], np.r_[0.51, 0.5, 0.5, 0.1]], 1), single)[
        "macro_f1"
    ] == pytest.approx((4 / 5 + 2 / 3) / 2)


def test_the_models_own_predictions_are_cut_at_a_half():
    """What `predictions` says of a real, untrained model is its probabilities, rounded."""
    for task, split in prepared().dev.items():
        probability, true = probabilities(model(), task, split)
        found, labels = predictions(model(), task, split)
        twin = probability.argmax(1) if TASKS[task].kind == "multiclass" else probability.round().squeeze()
        assert np.array_equal(found, twin)
        assert np.array_equal(labels, true.argmax(1) if TASKS[task].kind == "multiclass" else true.squeeze())


def test_answers_that_are_no_numbers_have_no_area():
    """What a model that blew up says is no score, and no error."""
    true = truth("reporting", np.array([0, 1]))
    found = measures("reporting", np.full((2, 1), np.nan), true)
    assert math.isnan(found["auc"])
    assert math.isnan(found["log_loss"])


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """A small corpus whose words tell the labels."""
    return generate(0, dict.fromkeys(TASK_NAMES, 400), dict.fromkeys(TASK_NAMES, 100))


def test_a_bag_of_words_learns_what_words_tell(corpus):
    """On the generated corpus it beats chance clearly in every task; probabilities of exclusive labels sum to 1."""
    for task in TASK_NAMES:
        probability = bag_of_words(task, corpus.train[task], corpus.dev[task])
        true = truth(task, corpus.dev[task].labels)
        assert probability.shape == true.shape
        assert measures(task, probability, true)["auc"] > 0.65
        if TASKS[task].kind == "multiclass":
            np.testing.assert_allclose(probability.sum(1), 1)


def test_a_label_that_no_training_row_has_is_not_predicted(corpus):
    """One class to learn from is no error: it is what is answered."""
    split = corpus.train["emotion"]
    labels = split.labels.copy()
    labels[:, 3] = 0
    found = bag_of_words("emotion", TaskSplit(split.texts, labels), corpus.dev["emotion"])
    assert (found[:, 3] == 0).all()
    assert (found[:, [0, 1, 2, 4, 5, 6]] > 0).any()


def perfect(corpus: Corpus) -> dict[str, dict[str, float]]:
    """The scores of a model that is always right."""
    return {
        task: measures(task, truth(task, split.labels).astype(float), truth(task, split.labels))
        for task, split in corpus.dev.items()
    }


def test_the_gate_lets_a_model_through_that_has_learned_and_none_that_guesses_in_one_task(corpus):
    """Perfect scores pass; with one task at what the commonest answer scores, what speaks of it is void, and what does
    not is decided."""
    best, rule = perfect(corpus), Gains()
    table = adequacy([best, best], corpus)
    guess = table[(table["task"] == "sentiment")].set_index("measure")["commonest"].to_dict()
    assert (guess["auc"], guess["macro_f1"]) == (0.5, pytest.approx(1 / 3, abs=0.05))
    short = adequacy([best | {"sentiment": guess}], corpus)

    def judged(table: pd.DataFrame, tasks) -> Verdict:
        return rule.judge(Measurement(0.1, 0.05, 0.15, "u", seeds=5, limits={ADEQUACY: least_above(table, tasks)}))

    assert judged(table, TASK_NAMES) == Verdict.CONFIRMED
    assert judged(short, TASK_NAMES) == Verdict.VOID
    assert judged(short, ["toxicity"]) == Verdict.CONFIRMED


def test_a_bag_of_words_may_choose_its_thresholds_on_training_rows_too(corpus):
    """As a control does that it is held against; for a rare label that is worth more than 1/2."""
    made = {task: {"auc": 0.0, "log_loss": 0.0, "macro_f1": 0.0, "samples_f1": 0.0} for task in TASK_NAMES}
    plain, chosen = (
        adequacy([made], corpus, thresholds).set_index(["task", "measure"])["tf_idf"] for thresholds in (0, 1)
    )
    assert chosen["emotion", "macro_f1"] > plain["emotion", "macro_f1"]
    assert chosen["emotion", "auc"] == plain["emotion", "auc"]


def test_a_measure_that_could_not_be_taken_opens_no_gate(corpus):
    """NaN is not near enough."""
    table = adequacy([perfect(corpus) | {"emotion": {**perfect(corpus)["emotion"], "auc": math.nan}}], corpus)
    assert math.isnan(least_above(table))
    assert (
        Gains().judge(Measurement(0.1, 0.1, 0.1, "u", seeds=5, limits={ADEQUACY: least_above(table)})) == Verdict.VOID
    )
