"""Properties of an encoder whose lower layers are frozen and their output kept: the same numbers, computed once."""

import copy

import pytest
import torch
from small_encoders import bert, save
from small_runs import batches, job, model, prepared, settings
from transformers import DistilBertConfig, DistilBertModel

from aura_study.data.batches import Batches
from aura_study.training.frozen_layers import FrozenLayers, train_above
from aura_study.training.loop import train
from aura_study.training.runs import TrainingJob, build_model, prepare
from aura_study.training.unpadded import encode, task_tokens

BOTH = pytest.mark.parametrize("make", [lambda: model().eval().encoder, bert], ids=["RoBERTa", "BERT"])


def assert_frozen_equals_whole(whole, upper, batch):
    """States, and the gradients that they send into the upper layers, are those of the whole encoder to 1e-5."""
    expected, found = encode(whole, batch)[0], encode(upper, batch)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    pull = torch.randn(found.shape, generator=torch.Generator().manual_seed(0)) / len(found)
    expected.backward(pull)
    found.backward(pull)
    whole_layers, layers = whole.get_submodule("encoder.layer"), upper.get_submodule("encoder.layer")
    for whole_layer, layer in zip(whole_layers[-len(layers) :], layers, strict=True):
        for first, second in zip(layer.parameters(), whole_layer.parameters(), strict=True):
            torch.testing.assert_close(first.grad, second.grad, rtol=0, atol=1e-5)


@BOTH
def test_an_encoder_above_frozen_layers_gives_the_whole_encoders_numbers(make):
    """Positions counted from 0 or from the one after the padding's, one token type or two."""
    upper = train_above(make(), FrozenLayers(make(), 1), 1)
    assert_frozen_equals_whole(make(), upper, batches(job()).batch(0))


def test_minilm_above_frozen_layers_gives_the_whole_encoders_numbers(minilm):
    """The trained encoder, on its own tokens, four of its six layers frozen."""
    work = TrainingJob(name="small", rows=64, dev_rows=16, max_length=32, encoder="minilm")
    frozen = work.model_copy(update={"frozen_layers": 4})
    schedule = work.presence.build(prepare(work).corpus.sizes, work.batch_size, 0, 1)
    whole, upper = (build_model(each, prepare(each)).encoder.eval() for each in (work, frozen))
    assert_frozen_equals_whole(whole, upper, Batches(prepare(work).train, schedule).batch(0))


@BOTH
def test_what_is_kept_of_texts_that_were_read_does_not_depend_on_later_batches(make):
    """Bit by bit: so arms that see rows in another order, or a run that is taken up again, start alike."""
    batch = batches(job()).batch(0)
    frozen = [FrozenLayers(make(), 1) for _ in range(2)]
    for each in frozen:
        each.read(prepared().train, torch.device("cpu"))
    alone, together = (train_above(make(), each, 1).embeddings for each in frozen)
    for task, part in task_tokens(batch).items():
        assert torch.equal(encode_embeddings(alone, batch.only(task)), encode_embeddings(together, batch)[part])


def encode_embeddings(embeddings, batch):
    """Kept states of the batch's rows, end to end."""
    real = batch.attention_mask.bool()
    return embeddings(input_ids=batch.input_ids[real][None], position_ids=batch.attention_mask.cumsum(1)[real][None])[0]


def test_rows_that_were_read_are_not_run_again():
    """Neither in training nor in a job of the same texts with another seed, if the encoder comes from files."""
    frozen = FrozenLayers(bert(), 1)
    frozen.read(prepared().train, torch.device("cpu"))
    frozen._encoder.register_forward_hook(lambda *_: pytest.fail("a row was run again"))
    encode(train_above(bert(), frozen, 1), batches(job()).batch(0))


def test_jobs_of_one_encoder_share_its_frozen_layers(tmp_path):
    """Whatever their seed, if its weights come from files; one that is built here is another for every seed."""
    built, kept = job().model_copy(update={"frozen_layers": 1}), str(save(tmp_path / "encoder"))
    other = built.model_copy(update={"settings": settings(seed=1)})

    def frozen(work):
        return build_model(work, prepared()).encoder.embeddings._frozen

    assert frozen(built) is not frozen(other)
    assert frozen(built.model_copy(update={"encoder": kept})) is frozen(other.model_copy(update={"encoder": kept}))


def test_a_row_is_run_once_and_by_all_copies_of_a_model():
    """The second pass over a batch asks the frozen layers nothing, nor does that of a copy."""
    encoder, asked = bert(), []
    encoder.register_forward_hook(lambda *_: asked.append(1))
    upper = train_above(bert(), FrozenLayers(encoder, 1), 1)
    batch = batches(job()).batch(0)
    encode(upper, batch)
    assert len(asked) == len({tuple(row) for row in batch.input_ids.tolist()})
    encode(upper, batch)
    encode(copy.deepcopy(upper), batch)
    assert len(asked) == len({tuple(row) for row in batch.input_ids.tolist()})


def test_training_moves_the_upper_layers_and_no_frozen_one():
    """They are no parameters of the model, and their output is the same after training as before."""
    work = job().model_copy(update={"frozen_layers": 1})
    trained = build_model(work, prepared())
    assert sum(p.numel() for p in trained.parameters()) < sum(p.numel() for p in model().parameters())
    batch = batches(work).batch(0)
    embeddings, before = trained.encoder.embeddings, copy.deepcopy(trained.encoder.state_dict())
    kept = encode_embeddings(embeddings, batch).clone()
    train(trained, batches(work).iterate(), work.settings)
    assert all(not torch.equal(value, before[name]) for name, value in trained.encoder.named_parameters())
    assert torch.equal(encode_embeddings(embeddings, batch), kept)


@pytest.mark.parametrize("count", [0, 2, 7])
def test_a_count_that_leaves_nothing_to_freeze_or_to_train_is_refused(count):
    """The error names the valid ones."""
    with pytest.raises(ValueError, match=f"frozen_layers must lie between 1 and 1 .*, got {count}"):
        FrozenLayers(bert(), count)


def test_an_encoder_that_runs_padded_has_no_frozen_layers():
    """A DistilBERT reads its rows padded, and they could not be told apart."""
    other = DistilBertModel(DistilBertConfig(vocab_size=300, dim=32, hidden_dim=64, n_layers=2, n_heads=4))
    with pytest.raises(ValueError, match="frozen_layers needs a BERT or RoBERTa encoder, got DistilBertModel"):
        FrozenLayers(other, 1)
