"""Properties of the AURA model and of the per-task gradient norms measured on it."""

import copy

import pytest
import torch
from small_encoders import bert, save
from small_runs import batches, job, model, prepared
from transformers import (
    DistilBertConfig,
    DistilBertModel,
    RobertaModel,
    T5Config,
    T5Model,
    ViTConfig,
    ViTModel,
)

from aura_study.data.batches import Batch
from aura_study.data.sources import MissingDataError
from aura_study.data.tasks import TASKS
from aura_study.training.loop import task_loss
from aura_study.training.model import AuraModel, build_encoder
from aura_study.training.runs import build_model, prepare
from aura_study.training.task_gradients import (
    GradientNormsByAutograd,
    TaskGradientNorms,
    unread_gradients,
    watch_gradients,
)

TASK_NAMES = tuple(TASKS)


def terms(net: AuraModel, batch: Batch) -> dict[str, torch.Tensor]:
    """Weighted losses, each task with a weight of its own."""
    weights = dict(zip(TASK_NAMES, (0.5, 2.0, 1.0, 30.0), strict=True))
    return {task: weights[task] * task_loss(TASKS[task], out, batch.labels[task]) for task, out in net(batch).items()}


def measured_norms(watch, net: AuraModel, some_batches: list[Batch]) -> torch.Tensor:
    for batch in some_batches:
        watch.begin(batch)
        losses = terms(net, batch)
        watch.observe(losses)
        sum(losses.values()).backward()
    return watch.finish()


def bert_model() -> AuraModel:
    return AuraModel(bert(), tuple(TASKS.values()), seed=0)


@pytest.mark.parametrize("make", [model, bert_model], ids=["RoBERTa", "BERT"])
@pytest.mark.parametrize("micro_batches", [1, 3])
def test_gradient_norms_equal_one_backward_per_task(make, micro_batches):
    """One watched backward pass gives the norms of one backward pass per task, over one or several micro-batches."""
    some = [batches(job()).batch(step) for step in range(micro_batches)]
    fast_net, slow_net = make().eval(), make().eval()
    fast = measured_norms(TaskGradientNorms(fast_net.encoder, TASK_NAMES), fast_net, some)
    slow = measured_norms(GradientNormsByAutograd(slow_net.encoder, TASK_NAMES), slow_net, some)
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-6)
    assert (fast > 0).all()


@pytest.mark.parametrize("make", [TaskGradientNorms, GradientNormsByAutograd])
def test_gradient_norms_of_absent_tasks_and_frozen_encoders(make):
    """A task without rows sends exactly nothing; a frozen encoder has no gradient to speak of."""
    net = model().eval()
    watch = make(net.encoder, TASK_NAMES)
    without = batches(job()).batch(5)
    assert "reporting" not in without.rows
    assert measured_norms(watch, net, [without])[3] == 0.0
    net.encoder.requires_grad_(False)
    assert measured_norms(watch, net, [batches(job()).batch(0)]).isnan().all()


def test_watching_changes_no_gradient():
    """The model's own gradients are those of an unwatched model, up to the rounding of sums taken task by task."""
    batch = batches(job()).batch(0)
    plain, watched = model().eval(), model().eval()
    sum(terms(plain, batch).values()).backward()
    measured_norms(TaskGradientNorms(watched.encoder, TASK_NAMES), watched, [batch])
    for first, second in zip(plain.parameters(), watched.parameters(), strict=True):
        if first.grad is not None:
            torch.testing.assert_close(second.grad, first.grad, rtol=1e-4, atol=1e-6)


def test_a_watch_that_nobody_reads_forms_the_same_gradients():
    """Not to keep the norms saves their cost and changes no bit of what the optimiser sees."""
    batch = batches(job()).batch(0)
    read, unread = model().eval(), model().eval()
    assert (measured_norms(watch_gradients(read.encoder, TASK_NAMES), read, [batch]) > 0).all()
    assert measured_norms(unread_gradients(unread.encoder, TASK_NAMES), unread, [batch]).isnan().all()
    for first, second in zip(read.parameters(), unread.parameters(), strict=True):
        assert (first.grad is None) == (second.grad is None)
        assert first.grad is None or torch.equal(first.grad, second.grad)


def test_other_encoders_are_watched_by_autograd():
    """DistilBERT shares position rows between samples: the fast way refuses it and the slow one takes its place."""
    other = DistilBertModel(DistilBertConfig(vocab_size=50, dim=16, n_layers=1, n_heads=2, hidden_dim=16))
    with pytest.raises(TypeError, match="DistilBertModel"):
        TaskGradientNorms(other, TASK_NAMES)
    assert isinstance(watch_gradients(other, TASK_NAMES), GradientNormsByAutograd)
    assert unread_gradients(other, TASK_NAMES) is None
    assert isinstance(watch_gradients(model().encoder, TASK_NAMES), TaskGradientNorms)


def test_heads_see_only_their_own_rows():
    """A task's logits do not change when another task's rows do."""
    net = model().eval()
    batch = batches(job()).batch(0)
    other = batch.input_ids.clone()
    other[batch.rows["emotion"]] = batch.input_ids[batch.rows["emotion"]].flip(0)
    changed = Batch(other, batch.attention_mask, batch.rows, batch.labels)
    first, second = net(batch), net(changed)
    assert torch.equal(first["toxicity"], second["toxicity"])
    assert not torch.equal(first["emotion"], second["emotion"])


def test_padding_does_not_count():
    """A batch padded further gives the same logits."""
    net = model().eval()
    batch = batches(job()).batch(0)
    pad = torch.full((len(batch), 4), prepared().tokenizer.pad_token_id)
    wider = Batch(
        torch.cat([batch.input_ids, pad], 1),
        torch.cat([batch.attention_mask, torch.zeros_like(pad)], 1),
        batch.rows,
        batch.labels,
    )
    for task, logits in net(batch).items():
        torch.testing.assert_close(net(wider)[task], logits, rtol=1e-4, atol=1e-5)


def test_an_encoder_that_was_built_here_has_heads_whose_attention_drops_nothing():
    """Unless the settings say so; dropout of all layers is the settings' own."""
    for dropout, expected in ((None, 0.0), (0.2, 0.2)):
        net = build_model(job(dropout=dropout), prepared())
        assert {part.dropout for part in net.modules() if isinstance(part, torch.nn.MultiheadAttention)} == {expected}


def test_shapes_and_seeds():
    """Logits are (rows, outputs); equal seeds give equal weights, others do not; it is transformers' own RoBERTa."""
    net, batch = model(0), batches(job()).batch(0)
    assert {task: tuple(out.shape) for task, out in net(batch).items()} == {
        task: (rows.stop - rows.start, TASKS[task].outputs) for task, rows in batch.rows.items()
    }
    state = {name: value.clone() for name, value in net.state_dict().items()}
    assert all(torch.equal(value, state[name]) for name, value in model(0).state_dict().items())
    assert not all(torch.equal(value, state[name]) for name, value in model(1).state_dict().items())
    assert isinstance(net.encoder, RobertaModel)
    assert build_encoder("tiny", vocabulary=100, max_length=16, seed=0).config.pad_token_id == 1  # RoBERTa's own


def test_a_local_folder_takes_the_encoder_s_place(tmp_path):
    """Any folder that transformers saved can be the encoder, weights included."""
    source = model(3).encoder
    source.save_pretrained(tmp_path / "encoder")
    prepared().tokenizer.save_pretrained(tmp_path / "encoder")
    loaded = build_encoder(str(tmp_path / "encoder"), vocabulary=0, max_length=0, seed=0)
    assert loaded.pooler is None
    for name, value in source.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])


@pytest.mark.parametrize(
    "make",
    [
        lambda: bert(pooler=True),
        lambda: DistilBertModel(DistilBertConfig(vocab_size=5000, dim=16, n_layers=1, n_heads=2, hidden_dim=16)),
    ],
    ids=["with a pooler", "with none"],
)
def test_an_encoder_from_files_is_the_whole_model_without_its_pooler(make, tmp_path):
    """Loading draws no random number that a training would miss, and the model can be trained."""
    source = make()
    before = torch.random.get_rng_state()
    loaded = build_encoder(str(save(tmp_path / "encoder", source)), len(prepared().tokenizer), 32, seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(module.training for module in loaded.modules())
    state = {name: value for name, value in source.state_dict().items() if not name.startswith("pooler")}
    assert all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())
    net, batch = AuraModel(loaded, tuple(TASKS.values())), batches(job()).batch(0)
    sum(terms(net, batch).values()).backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_unknown_encoder_is_one_clear_error(tmp_path):
    """An encoder that is neither known by name nor a folder says what the choices are."""
    with pytest.raises(MissingDataError, match="names known here: tiny, minilm, aura"):
        build_encoder(str(tmp_path / "nothing"), vocabulary=10, max_length=8, seed=0)


def test_rows_that_do_not_fit_an_encoder_are_refused_before_training(tmp_path):
    """Rows longer than its positions, and tokens that it does not know."""
    folder = str(save(tmp_path / "encoder"))
    assert build_encoder(folder, vocabulary=5000, max_length=64, seed=0)
    with pytest.raises(ValueError, match="takes rows of at most 64 tokens, not max_length=65"):
        build_encoder(folder, vocabulary=5000, max_length=65, seed=0)
    with pytest.raises(ValueError, match="knows 5000 tokens, and its tokenizer makes 5001"):
        build_encoder(folder, vocabulary=5001, max_length=64, seed=0)


def test_an_encoder_that_lacks_weights_is_refused(tmp_path):
    """transformers would draw them at random; a file that is none is refused as well."""
    folder, lacking = save(tmp_path / "encoder"), copy.deepcopy(bert())
    del lacking.encoder.layer[1].output
    lacking.save_pretrained(folder)
    with pytest.raises(ValueError, match=r"no whole BertModel; it lacks \['encoder.layer.1.output"):
        build_encoder(str(folder), vocabulary=0, max_length=0, seed=0)
    (folder / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match=f"encoder '{folder}' could not be loaded from {folder}"):
        build_encoder(str(folder), vocabulary=0, max_length=0, seed=0)


@pytest.mark.parametrize(
    "other",
    [
        T5Model(T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)),
        ViTModel(ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)),
    ],
    ids=["T5", "ViT"],
)
def test_what_is_no_encoder_of_texts_is_refused_before_training(other, tmp_path):
    """The error names the architecture, and those that run."""
    folder = str(save(tmp_path / "other", other))
    with pytest.raises(ValueError, match=f"is a {type(other).__name__}, no encoder of texts: .*BERT, RoBERTa and XLM"):
        build_encoder(folder, vocabulary=0, max_length=0, seed=0)


def test_minilm_trains_under_auras_heads(minilm):
    """8 heads divide its 384 numbers a token; every weight of it gets a gradient."""
    work = job().model_copy(update={"encoder": "minilm"})
    mine = prepare(work)
    net = build_model(work, mine)
    batch = next(work.batches(mine))
    logits = net(batch)
    assert {task: out.shape[1] for task, out in logits.items()} == {task: TASKS[task].outputs for task in batch.rows}
    sum(terms(net, batch).values()).backward()
    assert all(parameter.grad.any() for parameter in net.encoder.parameters())
    assert net.encoder.config.hidden_size == 384


def test_heads_must_divide_the_hidden_size():
    """Eight heads do not fit every encoder."""
    with pytest.raises(ValueError, match="128 is not a multiple of heads=7"):
        AuraModel(model().encoder, tuple(TASKS.values()), heads=7)
