"""Masked language modelling: which tokens are hidden, the loss on them, and what counting reaches."""

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from small_runs import prepared
from transformers import RobertaForMaskedLM

from aura_study.data.batches import dev_batches
from aura_study.training.masked_lm import CHOSEN, Masking, counting_losses, masked_texts, mlm_losses, mlm_test
from aura_study.training.model import build_encoder


def hidden(only_mask: bool, seed: int = 0, share: float = CHOSEN):
    """Ids before and after, and what was chosen, over all training texts laid end to end."""
    masking, generator = Masking(prepared().tokenizer, only_mask, share), np.random.default_rng(seed)
    before, after, chosen = [], [], []
    for _ in range(5):
        for task, split in prepared().train.items():
            for batch in dev_batches(task, split):
                masked = masking(batch, generator)
                real = batch.attention_mask.bool()
                before.append(batch.input_ids[real])
                after.append(masked.batch.input_ids[real])
                chosen.append(masked.chosen)
                assert torch.equal(masked.targets, batch.input_ids[real][masked.chosen])
                assert torch.equal(masked.batch.input_ids[~real], batch.input_ids[~real])
    return torch.cat(before), torch.cat(after), torch.cat(chosen)


@pytest.mark.parametrize("share", [0.15, 0.4])
def test_masking_follows_the_recipe(share):
    """That share of ordinary tokens; of them 80 % become the mask, 10 % another token, 10 % stay; no other changes."""
    before, after, chosen = hidden(only_mask=False, share=share)
    tokenizer = prepared().tokenizer
    special = torch.isin(before, torch.tensor(tokenizer.all_special_ids))
    assert not chosen[special].any()
    assert torch.equal(before[~chosen], after[~chosen])
    assert chosen[~special].float().mean() == pytest.approx(share, abs=0.01)
    fate, count = after[chosen], int(chosen.sum())
    slack = 4 * math.sqrt(0.16 / count)
    assert (fate == tokenizer.mask_token_id).float().mean() == pytest.approx(0.8, abs=slack)
    assert (fate == before[chosen]).float().mean() == pytest.approx(0.1, abs=slack)
    assert not torch.isin(fate[fate != tokenizer.mask_token_id], torch.tensor(tokenizer.all_special_ids)).any()


def test_the_test_shows_nothing_that_could_be_copied():
    """``only_mask``: every chosen token is the mask."""
    _, after, chosen = hidden(only_mask=True)
    assert (after[chosen] == prepared().tokenizer.mask_token_id).all()


def test_the_same_tokens_are_hidden_whoever_asks():
    """Equal seeds, equal test; another seed, another."""
    masking = Masking(prepared().tokenizer, only_mask=True)
    first, again, other = (masked_texts(prepared().dev, masking, seed) for seed in (0, 0, 1))
    assert all(torch.equal(a.batch.input_ids, b.batch.input_ids) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a.batch.input_ids, b.batch.input_ids) for a, b in zip(first, other, strict=True))


def small_model() -> RobertaForMaskedLM:
    tokenizer = prepared().tokenizer
    torch.manual_seed(0)
    return RobertaForMaskedLM(build_encoder("tiny", len(tokenizer), 32, 0, tokenizer.pad_token_id).config)


def test_the_loss_is_that_of_transformers_own_model():
    """On the chosen tokens alone and without padding, the loss that the padded model computes over all, to 1e-5."""
    model = small_model().eval()
    masked = masked_texts(prepared().dev, Masking(prepared().tokenizer))[0]
    labels = torch.full_like(masked.batch.input_ids, -100)
    places = masked.batch.attention_mask.bool().nonzero()[masked.chosen]
    labels[places[:, 0], places[:, 1]] = masked.targets
    with torch.no_grad():
        padded = model(input_ids=masked.batch.input_ids, attention_mask=masked.batch.attention_mask, labels=labels)
        own, states = mlm_losses(model.roberta, model.lm_head, masked)
    assert own.mean().item() == pytest.approx(padded.loss.item(), rel=1e-5)
    assert states.shape == (int(masked.batch.attention_mask.sum()), model.config.hidden_size)


def test_testing_leaves_the_model_as_it_was():
    """No dropout in the test, none lost by it: equal numbers from a model in training, which stays in training."""
    model = small_model().train()
    texts = masked_texts(prepared().dev, Masking(prepared().tokenizer, only_mask=True))
    (first, states), (again, _) = (mlm_test(model.roberta, model.lm_head, texts) for _ in range(2))
    assert first == again
    assert model.roberta.training
    assert len(states) == sum(int((~part.chosen).sum()) for part in texts)


@pytest.mark.parametrize("never_seen", [0, 7])
def test_counting_losses_are_those_of_counting_by_hand(never_seen):
    """Unigram and bigram from dictionaries and loops, to 1e-12; the neighbour's knowledge is worth something."""
    train, tokenizer = prepared().train, prepared().tokenizer
    masked = masked_texts(prepared().dev, Masking(tokenizer, only_mask=True))
    single: Counter[int] = Counter()
    pairs: Counter[tuple[int, int]] = Counter()
    lefts: Counter[int] = Counter()
    for split in train.values():
        for start, stop in zip(split.offsets[:-1], split.offsets[1:], strict=True):
            row = split.ids[start:stop].tolist()
            for left, token in pairwise(row[:-1]):
                single[token] += 1
                pairs[left, token] += 1
                lefts[left] += 1
    vocabulary = len(tokenizer) + never_seen
    total = sum(single.values()) + vocabulary
    unigram, bigram = [], []
    for part in masked:
        shown = part.batch.input_ids[part.batch.attention_mask.bool()].tolist()
        for place, token in zip(part.chosen.nonzero().flatten().tolist(), part.targets.tolist(), strict=True):
            share = (single[token] + 1) / total
            left = shown[place - 1]
            unigram.append(-math.log(share))
            bigram.append(-math.log((pairs[left, token] + share) / (lefts[left] + 1)))
    found = counting_losses(train, masked, vocabulary)
    assert found["unigram"] == pytest.approx(np.mean(unigram), rel=1e-12)
    assert found["bigram"] == pytest.approx(np.mean(bigram), rel=1e-12)
    assert found["bigram"] < found["unigram"]


def test_a_tokenizer_without_a_mask_is_refused():
    """There is nothing to hide a token behind."""

    class Maskless:
        mask_token_id = None

    with pytest.raises(ValueError, match="mask token"):
        Masking(Maskless())
