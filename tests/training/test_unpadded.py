"""Properties of running BERT and RoBERTa without padding: the numbers of the padded batch, from fewer tokens."""

import itertools

import pytest
import torch
from small_encoders import bert
from small_runs import batches, job, model
from torch.nn.functional import scaled_dot_product_attention
from transformers import DistilBertConfig, DistilBertModel, PreTrainedModel

from aura_study.data.batches import Batch, Batches
from aura_study.data.tasks import TASKS
from aura_study.training.model import AuraModel, build_encoder
from aura_study.training.runs import TrainingJob, prepare
from aura_study.training.unpadded import TokenLayout, encode, longest_row, runs_unpadded, task_tokens

CPU = torch.device("cpu")


def assert_unpadded_equals_padded(flat: PreTrainedModel, padded: PreTrainedModel, batch: Batch) -> None:
    """States at the real tokens, and the gradients that they send back, are transformers' own to 1e-5.

    The gradients are those of a mean over tokens.
    """
    states, layout = encode(flat, batch)
    real = batch.attention_mask.bool()
    assert real.sum() < real.numel()
    expected = padded(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state[real]
    assert states.shape[0] == int(real.sum()) == sum(layout.lengths)
    torch.testing.assert_close(states, expected, rtol=0, atol=1e-5)
    pull = torch.randn(states.shape, generator=torch.Generator().manual_seed(0)) / len(states)
    states.backward(pull)
    expected.backward(pull)
    for (name, first), second in zip(flat.named_parameters(), padded.parameters(), strict=True):
        assert second.grad.any(), name
        torch.testing.assert_close(first.grad, second.grad, rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", [lambda: model().eval().encoder, bert], ids=["RoBERTa", "BERT"])
def test_states_of_real_tokens_are_those_of_the_padded_batch(make):
    """Positions counted from 0 or from the one after the padding's, one token type or two: the same numbers."""
    assert runs_unpadded(make())
    assert_unpadded_equals_padded(make(), make(), batches(job()).batch(0))


def test_minilms_states_are_those_of_the_padded_batch(minilm):
    """The trained encoder, on its own tokens."""
    work = TrainingJob(name="small", rows=64, dev_rows=16, max_length=32, encoder="minilm")
    prepared = prepare(work)
    schedule = work.presence.build(prepared.corpus.sizes, work.batch_size, 0, 1)
    flat, padded = (build_encoder("minilm", len(prepared.tokenizer), 32, 0).eval() for _ in range(2))
    assert_unpadded_equals_padded(flat, padded, Batches(prepared.train, schedule).batch(0))


def test_an_encoder_that_reads_one_way_is_not_run_without_padding():
    """A BERT set up as a decoder masks what is to come, which the flat attention would not."""
    assert not runs_unpadded(bert(is_decoder=True))


def test_rows_may_be_as_long_as_there_are_positions():
    """RoBERTa keeps the first ones for padding, BERT does not; a longer row has no position."""
    assert longest_row(model().encoder) == job().max_length
    net = bert()
    assert longest_row(net) == net.config.max_position_embeddings == 64
    fitting, longer = (Batch(ids, torch.ones_like(ids), {}, {}) for ids in (torch.full((1, n), 5) for n in (64, 65)))
    assert encode(net, fitting)[0].shape == (64, 32)
    with pytest.raises((IndexError, RuntimeError), match=r"out of (range|bounds)"):
        encode(net, longer)


def test_an_encoder_that_ran_flat_still_takes_padded_batches():
    """The attention that replaced its own falls back where no layout is given."""
    batch, encoder = batches(job()).batch(0), model().eval().encoder
    padded = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    before = encoder(**padded).last_hidden_state
    encode(encoder, batch)
    torch.testing.assert_close(encoder(**padded).last_hidden_state, before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lengths", [[3], [1, 1, 1], [5, 2, 7, 2]])
def test_both_ways_to_attend_stay_within_rows(lengths):
    """Row by row and padded agree with one plain call per row, values and gradients."""
    generator = torch.Generator().manual_seed(1)
    given = [torch.randn(2, sum(lengths), 4, generator=generator, requires_grad=True) for _ in range(3)]
    layout = TokenLayout(lengths, CPU)
    bounds = [0, *torch.tensor(lengths).cumsum(0).tolist()]
    rows = [slice(start, stop) for start, stop in itertools.pairwise(bounds)]
    expected = torch.cat([scaled_dot_product_attention(*(x[:, row] for x in given)) for row in rows], 1)
    pull = torch.randn(expected.shape, generator=generator)
    gradients = torch.autograd.grad(expected, given, pull)
    for way in (layout.attend_by_row, layout.attend_padded):
        found = way(*given)
        torch.testing.assert_close(found, expected)
        for first, second in zip(torch.autograd.grad(found, given, pull), gradients, strict=True):
            torch.testing.assert_close(first, second)


def test_the_mean_is_over_each_rows_tokens():
    """Sums over rows written out, divided by their lengths."""
    states = torch.arange(12.0).reshape(6, 2)
    assert TokenLayout([1, 3, 2], CPU).mean(states).tolist() == [[0.0, 1.0], [4.0, 5.0], [9.0, 10.0]]


def test_parts_cover_every_token_once():
    """Tasks' slices of tokens follow each other without gap, and parts know their rows."""
    batch = batches(job()).batch(0)
    parts = list(task_tokens(batch).values())
    assert parts[0].start == 0
    assert all(first.stop == second.start for first, second in itertools.pairwise(parts))
    assert parts[-1].stop == int(batch.attention_mask.sum())
    tokens, part = TokenLayout([1, 3, 2], CPU).part(slice(1, 3))
    assert (tokens, list(part.lengths)) == (slice(1, 6), [3, 2])


def test_the_heads_at_once_compute_what_each_alone_does_with_torchs_own_attention():
    """Every task's logits equal those of torch's module on its padded rows, layer norm before the mean, and so on."""
    net, batch = model().eval(), batches(job()).batch(0)
    for head in net.heads.values():
        torch.nn.init.normal_(head.norm.weight, 1, 0.3)
        torch.nn.init.normal_(head.norm.bias)
    states, layout = encode(net.encoder, batch)
    found = net.heads(states, layout, batch.rows)
    assert list(found) == list(batch.rows)
    for task, rows in batch.rows.items():
        head, mask = net.heads[task], batch.attention_mask[rows].bool()
        padded = torch.zeros(*mask.shape, states.shape[1])
        padded[mask] = states[layout.part(rows)[0]]
        attended, _ = head.attention(padded, padded, padded, key_padding_mask=~mask)
        after = head.norm(padded + attended) * mask.unsqueeze(-1)
        expected = head.classifier(after.sum(1) / mask.sum(1, keepdim=True))
        torch.testing.assert_close(found[task], expected, rtol=1e-4, atol=1e-5)


def test_other_encoders_run_padded_and_their_padding_is_dropped():
    """DistilBERT takes the batch as it is; the heads get real tokens only."""
    config = DistilBertConfig(vocab_size=5000, dim=16, n_layers=1, n_heads=2, hidden_dim=16)
    net = AuraModel(DistilBertModel(config), tuple(TASKS.values())).eval()
    assert not runs_unpadded(net.encoder)
    batch = batches(job()).batch(0)
    states, layout = encode(net.encoder, batch)
    assert states.shape == (int(batch.attention_mask.sum()), 16)
    assert set(net(batch)) == set(batch.rows)
    assert len(layout.lengths) == len(batch)
