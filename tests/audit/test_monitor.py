"""The live monitor: phantom numbers, growth and one warning, in a plain loop and in a real Trainer."""

import copy
import math
import warnings

import audit_specimens as specimens
import pytest
import torch
from torch import nn

from aura_study.audit.calls.presence import presence
from aura_study.audit.lightning import PhantomMonitorLightning
from aura_study.audit.monitor import PhantomGradientWarning, PhantomMonitor
from aura_study.losses import MaskedKendallLoss, UnmaskedKendallLoss

TASKS = ("a", "b")
LR = 0.01


def watch(weigh, steps, losses, tasks=TASKS, **options):
    """Train the weighting alone; ``losses(step)`` is what it is called with."""
    optimizer = torch.optim.SGD(weigh.parameters(), lr=LR)
    with PhantomMonitor(weigh, optimizer, tasks, **options) as monitor:
        for step in range(steps):
            optimizer.zero_grad()
            weigh(losses(step)).backward()
            optimizer.step()
    return monitor


def only_a(step):
    return {"a": torch.tensor(0.5)}


def test_phantom_number_is_the_sum_of_rates_over_absent_steps():
    """b is absent in 60 of 90 steps, with a schedule; a never is."""
    weigh = UnmaskedKendallLoss(TASKS)
    optimizer = torch.optim.SGD(weigh.parameters(), lr=LR)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, 90)
    expected = 0.0
    with PhantomMonitor(weigh, optimizer, threshold=math.inf) as monitor:
        for step in range(90):
            losses = only_a(step) if step % 3 else {**only_a(step), "b": torch.tensor(0.7)}
            expected += scheduler.get_last_lr()[0] * (step % 3 > 0)
            weigh(losses).backward()
            optimizer.step()
            scheduler.step()
    assert monitor.phantom_numbers["b"] == pytest.approx(expected, rel=1e-12)
    assert monitor.phantom_numbers["a"] == 0.0


def test_growth_is_the_closed_form_and_the_warning_comes_once():
    """An absence of phantom number 1 under SGD on log sigma grows the weight by e^2; one warning, at a factor of 2."""
    with pytest.warns(PhantomGradientWarning, match="'b'") as caught:
        monitor = watch(UnmaskedKendallLoss(TASKS), 100, only_a)
    assert len(caught) == 1
    assert monitor.growth["b"] == pytest.approx(math.exp(2), rel=1e-5)
    assert monitor.growth["a"] == 1.0
    assert monitor.summary()["phantom_number/b"] == pytest.approx(1.0)


def test_masked_weighting_counts_but_never_warns():
    """The same absence is counted under the mask, and nothing grows. (Warnings are errors here.)"""
    monitor = watch(MaskedKendallLoss(TASKS), 100, only_a)
    assert monitor.phantom_numbers["b"] == pytest.approx(1.0)
    assert monitor.growth["b"] == 1.0


def test_weights_of_any_module_are_read_without_touching_its_gradients():
    """A module without `weights()` is probed; its training is bit for bit what it is without a monitor."""

    def train(watched):
        torch.manual_seed(0)
        weigh = specimens.SkipsNone(2)
        optimizer = torch.optim.Adam(weigh.parameters(), lr=LR)
        monitor = PhantomMonitor(weigh, optimizer, TASKS, threshold=math.inf) if watched else None
        path = []
        for step in range(30):
            optimizer.zero_grad()
            weigh([torch.tensor(0.4), torch.tensor(0.0 if step > 9 else 2.0)]).backward()
            optimizer.step()
            path.append(weigh.w.detach().clone())
        return torch.stack(path), monitor

    (plain, _), (watched, monitor) = train(False), train(True)
    assert torch.equal(plain, watched)
    assert monitor.phantom_numbers["b"] == pytest.approx(20 * LR)
    assert monitor.growth["b"] == pytest.approx(float(torch.exp(plain[9, 1] - plain[29, 1])), rel=1e-5)


def test_presence_over_micro_batches():
    """A task that one of the micro-batches of a step holds is present in that step."""
    weigh = UnmaskedKendallLoss(TASKS)
    optimizer = torch.optim.SGD(weigh.parameters(), lr=LR)
    monitor = PhantomMonitor(weigh, optimizer)
    for task in TASKS:
        weigh({task: torch.tensor(1.0)}).backward()
    optimizer.step()
    assert monitor.phantom_numbers == {"a": 0.0, "b": 0.0}


@pytest.mark.parametrize(
    ("weighting", "arguments"),
    [
        (UnmaskedKendallLoss(TASKS), ({"a": torch.tensor(1.0)},)),
        (UnmaskedKendallLoss(TASKS), (torch.tensor([1.0, 1.0]), torch.tensor([True, False]))),
        (specimens.Squared(2), (torch.tensor([1.0, 0.0]),)),
        (specimens.Squared(2), (torch.tensor([1.0, 1e-8]),)),
        (specimens.Squared(2), (torch.tensor([1.0, math.nan]),)),
        (specimens.SkipsNone(2), ([torch.tensor(1.0), None],)),
        (specimens.Varargs(2), (torch.tensor(1.0), torch.tensor(0.0))),
        (specimens.FloatMask(2), (torch.tensor([1.0, 1.0]), torch.tensor([1.0, 0.0]))),
    ],
)
def test_every_mark_of_absence_is_understood(weighting, arguments):
    """b is absent by key, mask, 0, 1e-8, NaN or None."""
    assert presence(weighting, arguments, {}, TASKS) == {"a"}


def test_presence_by_keyword():
    """Masks and losses may come as keywords."""
    mask = {"losses": torch.ones(2), "present": torch.tensor([False, True])}
    assert presence(UnmaskedKendallLoss(TASKS), (), mask, TASKS) == {"b"}
    assert presence(specimens.Keywords(TASKS), (), {"b": torch.tensor(1.0)}, TASKS) == {"b"}


def test_presence_can_be_told():
    """What the user says goes before what the arguments show, for the coming step."""
    weigh = UnmaskedKendallLoss(TASKS)
    optimizer = torch.optim.SGD(weigh.parameters(), lr=LR)
    monitor = PhantomMonitor(weigh, optimizer)
    monitor.present(["b"])
    weigh({"a": torch.tensor(1.0)}).backward()
    optimizer.step()
    assert monitor.phantom_numbers == {"a": LR, "b": 0.0}
    with pytest.warns(PhantomGradientWarning, match="unknown tasks"):
        monitor.present(["c"])


def test_closed_monitor_is_gone():
    """After `close` nothing is counted."""
    weigh = UnmaskedKendallLoss(TASKS)
    optimizer = torch.optim.SGD(weigh.parameters(), lr=LR)
    monitor = PhantomMonitor(weigh, optimizer)
    monitor.close()
    weigh(only_a(0)).backward()
    optimizer.step()
    assert monitor.phantom_numbers["b"] == 0.0


def test_bad_settings_are_refused_by_name():
    """No names, a threshold that everything passes, parameters that nobody learns."""
    weigh = specimens.Squared(2)
    optimizer = torch.optim.SGD(weigh.parameters(), lr=LR)
    with pytest.raises(ValueError, match="tasks"):
        PhantomMonitor(weigh, optimizer)
    with pytest.raises(ValueError, match="threshold"):
        PhantomMonitor(weigh, optimizer, TASKS, threshold=1.0)
    with pytest.raises(ValueError, match="none of the weighting's parameters"):
        PhantomMonitor(specimens.Squared(2), optimizer, TASKS)
    with pytest.raises(ValueError, match="pass weights="):
        PhantomMonitor(weigh, optimizer, ("a", "b", "c"))


class Computes(nn.Module):
    """Is handed predictions, targets and whatever says who is there."""

    def __init__(self):
        super().__init__()
        self.rho = nn.Parameter(torch.zeros(2))

    def forward(self, predictions, targets, valid=None, attention_mask=None):
        return (torch.exp(-self.rho) * 0.5 + self.rho).sum()


MANY = {task: torch.ones(4) for task in TASKS}


@pytest.mark.parametrize(
    ("arguments", "keywords", "here"),
    [
        ((MANY, MANY), {"valid": {"a": torch.ones(4), "b": torch.zeros(4)}}, {"a"}),
        ((MANY, MANY), {"valid": torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])}, {"a"}),
        ((MANY, MANY), {"valid": ["b"]}, {"b"}),
        ((MANY, MANY), {}, None),
        ((torch.zeros(2, 3, 4), MANY), {}, None),
        (({"group": {"x": 1}}, MANY), {}, None),
        ((torch.ones(2, 5), MANY), {"attention_mask": torch.ones(2, 5)}, None),
        ((MANY, MANY), {"valid": object()}, None),
    ],
)
def test_a_module_that_is_handed_no_losses(arguments, keywords, here):
    """Masks of tensors are read; where nothing says who is present, nothing is known, asked for once, and counted."""
    weigh = Computes()
    assert presence(weigh, arguments, keywords, TASKS) == here
    optimizer = torch.optim.SGD(weigh.parameters(), lr=LR)
    monitor = PhantomMonitor(weigh, optimizer, TASKS, weights=lambda: torch.exp(-weigh.rho), threshold=math.inf)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            weigh(*arguments, **keywords).backward()
            optimizer.step()
        assert len(caught) == (here is None)
    expected = {task: 0.0 if here is None or task in here else 3 * LR for task in TASKS}
    assert monitor.phantom_numbers == pytest.approx(expected)
    monitor.present(["b"])
    weigh(*arguments, **keywords).backward()
    optimizer.step()
    assert monitor.phantom_numbers["a"] == pytest.approx(expected["a"] + LR)


def test_weights_that_cannot_be_read_end_no_training():
    """Whatever `weights` raises in the loop is said once."""
    weigh, broken = UnmaskedKendallLoss(TASKS), []
    optimizer = torch.optim.SGD(weigh.parameters(), lr=LR)
    monitor = PhantomMonitor(weigh, optimizer, weights=lambda: [1.0, 1.0] if not broken else 1 / 0)
    broken.append(True)
    weigh(only_a(0)).backward()
    with pytest.warns(PhantomGradientWarning, match="could not be read"):
        optimizer.step()
    assert monitor.phantom_numbers["b"] == LR


def test_parameters_that_the_optimizer_does_not_hold_are_told():
    """Half of a weighting in the optimiser is worth a word."""
    weigh = specimens.ByName(TASKS)
    with pytest.warns(PhantomGradientWarning, match="does not hold 1"):
        PhantomMonitor(weigh, torch.optim.SGD([weigh.w["a"]], lr=LR), TASKS)


def trained_by_trainer(folder, weighting, reporter=None, **options):
    """A tiny RoBERTa with two heads, trained by a real Trainer on batches in which only task a has labels."""
    pytest.importorskip("accelerate")
    from transformers import RobertaConfig, RobertaModel, Trainer, TrainingArguments

    from aura_study.audit.trainer import PhantomMonitorCallback

    class TwoHeads(nn.Module):
        def __init__(self):
            super().__init__()
            config = RobertaConfig(
                vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
            )
            self.encoder = RobertaModel(config, add_pooling_layer=False)
            self.heads = nn.ModuleDict({task: nn.Linear(16, 2) for task in TASKS})
            self.weigh = weighting

        def forward(self, input_ids, labels):
            hidden = self.encoder(input_ids).last_hidden_state[:, 0]
            losses = {"a": nn.functional.cross_entropy(self.heads["a"](hidden), labels)}
            return {"loss": self.weigh(losses), "logits": hidden}

    torch.manual_seed(0)
    rows = [{"input_ids": torch.randint(2, 40, (6,)), "labels": i % 2} for i in range(80)]
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=10,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        learning_rate=0.05,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=0.0,  # clipping would shrink the phantom gradient along with the rest
        logging_steps=5,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    callback = PhantomMonitorCallback("weigh", **options)
    given = [callback] if reporter is None else [reporter]
    trainer = Trainer(model=TwoHeads(), args=arguments, train_dataset=rows, callbacks=given)
    if reporter is not None:
        callback.join(trainer)
    trainer.train()
    return callback.monitor, trainer


def test_trainer_callback_sees_the_phantom_gradient(tmp_path):
    """10 steps at 0.05 without task b: phantom number 0.5, weight x e under AdamW, one warning, numbers in the log."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        monitor, trainer = trained_by_trainer(tmp_path, UnmaskedKendallLoss(TASKS))
    assert [w.category for w in caught].count(PhantomGradientWarning) == 1
    assert monitor.phantom_numbers["b"] == pytest.approx(0.5)
    assert monitor.growth["b"] == pytest.approx(math.e, rel=1e-3)
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert [entry["phantom_number/b"] for entry in logged] == pytest.approx([0.25, 0.5])


def test_a_reporter_gets_every_number_of_every_task(tmp_path):
    """Joined, the callback comes before what the trainer reports to; micro-batches are averaged."""
    pytest.importorskip("accelerate")
    from transformers import TrainerCallback

    class Reporter(TrainerCallback):
        told = []

        def on_log(self, args, state, control, logs=None, **kwargs):
            self.told.append(dict(logs))

    _, trainer = trained_by_trainer(tmp_path, MaskedKendallLoss(TASKS), Reporter())
    first, second = [entry for entry in Reporter.told if "loss" in entry]
    assert [first[f"{number}/b"] for number in ("present", "weight", "phantom_number")] == pytest.approx([0, 0.5, 0.25])
    assert first["present/a"] == 1.0
    assert 0 < second["loss/a"] < 5
    assert "loss/b" not in first
    assert second["sigma/a"] == pytest.approx((2 * second["weight/a"]) ** -0.5)
    assert second["sigma/a"] != first["sigma/a"]
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert second.items() <= logged[1].items()


class LightningLoop:
    """Calls the hooks in Lightning's order, as its Trainer does; `test_lightning` has Lightning itself."""

    def __init__(self, module, callback, accumulate, log_every_n_steps):
        self.module, self.callback, self.accumulate = module, callback, accumulate
        self.log_every_n_steps, self.global_step = log_every_n_steps, 0
        other = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
        self.optimizers = [other, torch.optim.SGD(module.parameters(), lr=LR)]

    def fit(self, batches):
        self.callback.on_train_start(self, self.module)
        try:
            for index, batch in enumerate(batches):
                (self.module.training_step(batch) / self.accumulate).backward()
                if (index + 1) % self.accumulate == 0:
                    self.optimizers[1].step()
                    self.optimizers[1].zero_grad()
                    self.global_step += 1
                self.callback.on_train_batch_end(self, self.module, None, batch, index)
        except RuntimeError as error:
            self.callback.on_exception(self, self.module, error)
            return
        self.callback.on_train_end(self, self.module)


class Weighed(nn.Module):
    def __init__(self):
        super().__init__()
        self.weigh = UnmaskedKendallLoss(TASKS)
        self.logged = []

    def training_step(self, batch):
        if batch is None:
            raise RuntimeError("a broken batch")
        return self.weigh({task: torch.tensor(loss) for task, loss in batch.items()})

    def log_dict(self, numbers):
        self.logged.append(numbers)


def test_the_lightning_callback_logs_by_optimiser_steps():
    """Two micro-batches a step, an entry every 5 steps: means over the calls, shares of the steps, phantom numbers."""
    module, callback = Weighed(), PhantomMonitorLightning("weigh", threshold=math.inf)
    LightningLoop(module, callback, accumulate=2, log_every_n_steps=5).fit(
        [{"a": 0.2}, {"a": 0.6}] * 4 + [{"b": 1.0}] * 12
    )
    first, second = module.logged
    assert first["loss/a"] == pytest.approx(0.4)
    assert (first["present/a"], first["present/b"], second["present/a"]) == (0.8, 0.2, 0.0)
    assert (first["phantom_number/a"], first["phantom_number/b"]) == pytest.approx((LR, 4 * LR))
    assert second["phantom_number/a"] == pytest.approx(6 * LR)
    assert "loss/a" not in second
    assert not module.weigh._forward_hooks


def test_the_lightning_callback_lets_go_of_a_training_that_failed_and_refuses_one_that_learns_nothing():
    """No hook outlives the training; an optimiser without the weighting is named before the first batch."""
    module, callback = Weighed(), PhantomMonitorLightning(lambda model: model.weigh)
    LightningLoop(module, callback, 1, 1).fit([{"a": 1.0}, None])
    assert not module.weigh._forward_hooks
    assert len(module.logged) == 1
    with pytest.raises(ValueError, match="none of the trainer's optimizers holds"):
        LightningLoop(module, PhantomMonitorLightning(UnmaskedKendallLoss(TASKS)), 1, 1).fit([])


def test_trainer_callback_is_silent_under_the_mask(tmp_path):
    """The same run with the mask: counted, not grown, no warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        monitor, _ = trained_by_trainer(tmp_path, MaskedKendallLoss(TASKS))
    assert not [w for w in caught if w.category is PhantomGradientWarning]
    assert monitor.phantom_numbers["b"] == pytest.approx(0.5)
    assert monitor.growth["b"] == 1.0


def steps_of(optimizer, total):
    for _ in range(40):
        optimizer.zero_grad()
        total().backward()
        optimizer.step()


def test_a_task_that_is_solved_is_told_of_and_not_counted():
    """Present by its mask at a loss of 0: its weight grows without an absence."""

    weigh = specimens.MaskTimesTerm(2)
    optimizer = torch.optim.SGD(weigh.parameters(), lr=0.1)
    monitor = PhantomMonitor(weigh, optimizer, TASKS, weights=lambda: torch.exp(-weigh.w))
    with pytest.warns(PhantomGradientWarning) as caught:  # of the total that falls, too
        steps_of(optimizer, lambda: weigh(torch.tensor([1.0, 0.0]), torch.tensor([True, True])))
    assert any("'b' is present and its loss is 0" in str(one.message) for one in caught)
    assert monitor.phantom_numbers == {"a": 0.0, "b": 0.0}


def test_a_total_that_falls_by_the_rate_is_told_of():
    """Where nobody says who is there, a regulariser that falls alone is seen in the total."""

    class OfAModel(nn.Module):
        def __init__(self):
            super().__init__()
            self.s = nn.Parameter(torch.zeros(2))

        def forward(self, images):
            return (torch.exp(-self.s) * images.mean() + self.s).sum()

    weigh = OfAModel()
    optimizer = torch.optim.SGD(weigh.parameters(), lr=LR)
    PhantomMonitor(weigh, optimizer, TASKS, weights=lambda: torch.exp(-weigh.s))
    with pytest.warns(PhantomGradientWarning) as caught:
        steps_of(optimizer, lambda: weigh(torch.zeros(4, 3)))
    assert any("fallen by 2 times the learning rate" in str(one.message) for one in caught)


def test_a_watched_weighting_can_be_copied_and_saved(tmp_path):
    """A copy is not watched, and the file holds no monitor."""
    weigh = UnmaskedKendallLoss(TASKS)
    optimizer = torch.optim.SGD(weigh.parameters(), lr=LR)
    monitor = PhantomMonitor(weigh, optimizer)
    twin = copy.deepcopy(weigh)
    torch.save(weigh, tmp_path / "weigh.pt")
    for other in (twin, torch.load(tmp_path / "weigh.pt", weights_only=False)):
        other(only_a(0)).backward()
    optimizer.step()
    assert monitor.phantom_numbers == {"a": 0.0, "b": 0.0}


def test_a_layer_that_the_losses_share_is_handed_over():
    """The weights are read with losses that go through it, as its code looks at their gradients there."""

    class AtLayer(nn.Module):
        def __init__(self):
            super().__init__()
            self.s = nn.Parameter(torch.zeros(2))

        def forward(self, losses, shared_layer):
            for loss in losses:
                torch.autograd.grad(loss, shared_layer.weight, retain_graph=True)
            return sum(torch.exp(-s) * loss + s for s, loss in zip(self.s, losses, strict=True))

    weighting = AtLayer()
    monitor = PhantomMonitor(weighting, torch.optim.SGD(weighting.parameters(), lr=0.1), tasks=["a", "b"])
    assert monitor.growth == {"a": 1.0, "b": 1.0}
