"""Shapes met in public code: states beside the parameters, calls that are not declared, marks of many kinds."""

import math
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import nn

NAMES = ("box", "cls", "seg")


def names_of(n):
    return [f"t{i}" for i in range(n)]


class ByName(nn.Module):
    def __init__(self, task_names):
        super().__init__()
        self.order = list(task_names)
        self.log_vars = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in self.order})

    def term(self, name, loss):
        return torch.exp(-self.log_vars[name]) * loss + self.log_vars[name]


class Vector(nn.Module):
    def __init__(self, n=3):
        super().__init__()
        self.log_vars = nn.Parameter(torch.zeros(n))

    def term(self, i, loss):
        return torch.exp(-self.log_vars[i]) * loss + self.log_vars[i]


class Baseline(Vector):
    """Divided by the first batch's losses; an exact 0 leaves the term out."""

    baseline = None

    def forward(self, losses: list):
        if self.baseline is None:
            self.baseline = [float(loss) for loss in losses]
        terms = [self.term(i, loss / self.baseline[i]) for i, loss in enumerate(losses) if float(loss) != 0]
        return torch.stack(terms).sum()


class WarmsUp(Vector):
    """A plain sum for 500 steps, then the uncertainty weighting."""

    def __init__(self, n=3):
        super().__init__(n)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, losses):
        self.calls += 1
        if self.calls < 500:
            return losses.sum()
        return sum(self.term(i, loss) for i, loss in enumerate(losses))


class Narrow(Vector):
    """Log variances in (-4, 4)."""

    def forward(self, losses):
        held = self.log_vars.clamp(-4, 4)
        return (torch.exp(-held) * losses + held).sum()


class WeightAverage(nn.Module):
    """Dynamic weight average over a mapping."""

    def __init__(self, task_names):
        super().__init__()
        self.history = {name: [] for name in task_names}

    def forward(self, losses):
        for name, loss in losses.items():
            self.history[name].append(loss.item())
        if min(map(len, self.history.values())) < 2:
            return sum(losses.values())
        rates = torch.tensor([kept[-1] for kept in self.history.values()]) / torch.tensor(
            [kept[-2] for kept in self.history.values()]
        )
        weights = len(rates) * torch.softmax(rates / 2, 0)
        return sum(weight * losses[name] for weight, name in zip(weights, self.history, strict=True) if name in losses)


class RunningMean(nn.Module):
    """Each loss over its own running mean."""

    def __init__(self, task_names):
        super().__init__()
        self.means = {}

    def forward(self, losses):
        total = 0.0
        for name, loss in losses.items():
            old = self.means.get(name, loss.item())
            self.means[name] = 0.9 * old + 0.1 * loss.item()
            total = total + loss / self.means[name]
        return total


class Variation(nn.Module):
    """Weights by the coefficient of variation of each loss so far."""

    def __init__(self, task_names):
        super().__init__()
        self.seen = {name: [] for name in task_names}

    def forward(self, losses):
        for name, loss in losses.items():
            self.seen[name] = [*self.seen[name], loss.item()][-40:]
        if min(map(len, self.seen.values())) < 3:
            return sum(losses.values()) / len(self.seen)
        spread = {name: torch.tensor(kept).std() / torch.tensor(kept).mean() for name, kept in self.seen.items()}
        whole = sum(spread.values())
        return sum(spread[name] / whole * loss for name, loss in losses.items())


class OwnOptimiser:
    """FAMO's own code: weights of its own, stepped by an optimiser of its own after each update."""

    def __init__(self, n_tasks, device="cuda", gamma=0.01, w_lr=0.025):
        self.min_losses = torch.zeros(n_tasks).to(device)
        self.w = torch.tensor([0.0] * n_tasks, device=device, requires_grad=True)
        self.w_opt = torch.optim.Adam([self.w], lr=w_lr, weight_decay=gamma)

    def get_weighted_loss(self, losses):
        self.prev_loss = losses
        z = torch.softmax(self.w, -1)
        distance = losses - self.min_losses + 1e-8
        c = (z / distance).sum().detach()
        return (distance.log() * z / c).sum()

    def update(self, curr_loss):
        delta = (self.prev_loss - self.min_losses + 1e-8).log() - (curr_loss - self.min_losses + 1e-8).log()
        with torch.enable_grad():
            d = torch.autograd.grad(torch.softmax(self.w, -1), self.w, grad_outputs=delta.detach())[0]
        self.w_opt.zero_grad()
        self.w.grad = d
        self.w_opt.step()


class SoftOptimal(nn.Module):
    """Weights are the softmax of the inverse losses."""

    def forward(self, losses: dict):
        inverse = torch.stack([1 / loss.detach() for loss in losses.values()])
        weights = torch.softmax(inverse / 10, 0)
        return sum(weight * loss for weight, loss in zip(weights, losses.values(), strict=True))


class RandomWeights(nn.Module):
    """Weights drawn anew, over those that are there."""

    def __init__(self, task_names):
        super().__init__()

    def forward(self, losses):
        weights = torch.softmax(torch.randn(len(losses)), 0)
        return sum(weight * loss for weight, loss in zip(weights, losses.values(), strict=True))


class ByEpoch(nn.Module):
    """Each loss over its mean in the last epoch."""

    def __init__(self, task_names):
        super().__init__()
        self.scale = dict.fromkeys(task_names, 1.0)
        self.kept = {name: [] for name in task_names}

    def forward(self, losses):
        for name, loss in losses.items():
            self.kept[name].append(loss.item())
        return sum(loss / self.scale[name] for name, loss in losses.items())

    def on_epoch_end(self):
        for name, kept in self.kept.items():
            if kept:
                self.scale[name] = sum(kept) / len(kept)
            self.kept[name] = []


class Schedule(Vector):
    def forward(self, losses, beta):
        return (torch.exp(-self.log_vars) * losses + beta * self.log_vars).sum()


class Couple(nn.Module):
    def __init__(self, num_tasks):
        super().__init__()
        self.log_vars = nn.Parameter(torch.zeros(num_tasks))

    def forward(self, det_loss, reg_loss):
        a, b = self.log_vars
        total = torch.exp(-a) * det_loss + a + torch.exp(-b) * reg_loss + b
        return total, torch.exp(-self.log_vars).detach()


class Named(ByName):
    """Only the names that are handed over."""

    def forward(self, losses, present_tasks):
        return sum(self.term(name, losses[name]) for name in present_tasks)


class Merges(ByName):
    """A method of a name of its own, the total under another one."""

    forward = nn.Module.forward

    def merge_objectives(self, objectives):
        parts = {f"w_{name}": self.term(name, loss) for name, loss in objectives.items()}
        return {"log_vars": dict(self.log_vars), **parts, "overall_total": sum(parts.values())}


class Validity(Vector):
    """A matrix of samples by tasks, and which entries are valid."""

    def forward(self, loss_matrix, valid_mask):
        count = valid_mask.float().sum(0)
        means = (loss_matrix * valid_mask).sum(0) / count.clamp(min=1)
        return sum(self.term(i, mean) for i, mean in enumerate(means))


class ValidityLeftOut(Vector):
    def forward(self, loss_matrix, valid_mask):
        count = valid_mask.float().sum(0)
        means = (loss_matrix * valid_mask).sum(0) / count.clamp(min=1)
        return sum(self.term(i, mean) for i, mean in enumerate(means) if count[i] > 0)


class Computes(nn.Module):
    """Means over the valid samples of squared errors."""

    def __init__(self, outputs=NAMES):
        super().__init__()
        self.log_vars = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in outputs})

    def forward(self, outputs, targets, masks):
        total = 0.0
        for name, log_var in self.log_vars.items():
            if name in outputs:
                error = (outputs[name] - targets[name]) ** 2 * masks[name]
                mean = error.sum() / masks[name].sum().clamp(min=1.0)
                total = total + torch.exp(-log_var) * mean + log_var
        return total


class Detached(Vector):
    def forward(self, losses):
        return sum(self.term(i, torch.tensor(loss.item())) for i, loss in enumerate(losses))


class Empties(Vector):
    def forward(self, losses: list):
        return sum(self.term(i, loss.mean()) for i, loss in enumerate(losses) if loss.numel() > 0)


class Sentinels(Vector):
    def forward(self, losses: list):
        return sum(self.term(i, loss) for i, loss in enumerate(losses) if loss > -0.5)


class Shorter(Vector):
    def forward(self, losses: list):
        return sum(self.term(i, loss) for i, loss in enumerate(losses))


class Different(ByName):
    """One task is masked where its loss is NaN, the others are not."""

    def forward(self, losses):
        terms = [self.term(n, loss) for n, loss in losses.items() if not (n == self.order[0] and loss == 0)]
        return sum(terms)


class OptionalMask(Vector):
    def forward(self, losses, mask=None):
        mask = torch.ones(len(losses)) if mask is None else mask.float()
        return sum(mask[i] * self.term(i, loss) for i, loss in enumerate(losses))


class KeywordOnly(Vector):
    def forward(self, *, losses, keep_mask=None):
        return sum(self.term(i, loss) for i, loss in enumerate(losses) if keep_mask is None or keep_mask[i])


class Plain(Vector):
    def forward(self, losses: torch.Tensor) -> torch.Tensor:
        return (torch.exp(-self.log_vars) * losses + self.log_vars).sum()


def scripted():
    return torch.jit.script(Plain(3))


def compiled():
    return torch.compile(Plain(3))


def parallel():
    return nn.DataParallel(Plain(3))


class ByNameLast(ByName):
    """The last task's regulariser pulls twice as much."""

    def forward(self, losses: dict):
        extra = self.log_vars[self.order[-1]]
        return sum(self.term(name, loss) for name, loss in losses.items()) + extra


class ConstantBeside(nn.Module):
    """Three learned weights and a fourth loss at a constant one."""

    def __init__(self, mode="learned"):
        super().__init__()
        self.log_vars = nn.Parameter(torch.zeros(3))

    def forward(self, ce, mse, l1, smoothness):
        learned = torch.stack([ce, mse, l1])
        return (torch.exp(-self.log_vars) * learned + self.log_vars).sum() + 0.1 * smoothness


class EpochsFirst(Vector):
    """A plain sum until somebody has counted five epochs."""

    epoch = 0

    def on_epoch_end(self):
        self.epoch += 1

    def forward(self, losses: torch.Tensor):
        return sum(self.term(i, loss) for i, loss in enumerate(losses)) if self.epoch >= 5 else losses.sum()


class WeightsApart(Vector):
    """Told no losses: gives weights and a regulariser."""

    def forward(self):
        return torch.exp(-self.log_vars), self.log_vars.sum()


class TermsAndPull(Vector):
    """Weighted losses, and the regulariser beside them."""

    def forward(self, losses: list):
        return [torch.exp(-s) * loss for s, loss in zip(self.log_vars, losses, strict=True)], self.log_vars.sum()


class HardCuda(nn.Module):
    def __init__(self, device, n=3):
        super().__init__()
        self.log_vars = nn.Parameter(torch.zeros(n, device="cuda").cuda())

    def forward(self, *losses):
        return sum(torch.exp(-s) * loss.to("cuda:0") + s for s, loss in zip(self.log_vars, losses, strict=True))


class FromSettings(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.log_vars = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in cfg["loss_names"]})
        self.scale = cfg.scale

    def forward(self, losses: dict):
        return self.scale * sum(torch.exp(-s) * losses[name] + s for name, s in self.log_vars.items())


class FromConfigs(nn.Module):
    def __init__(self, tasks: dict):
        super().__init__()
        self.kinds = {name: config.get("kind", "numbers") for name, config in tasks.items()}
        self.log_vars = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in tasks})

    def forward(self, losses: dict):
        return sum(torch.exp(-self.log_vars[name]) * losses[name] + self.log_vars[name] for name in self.kinds)


class MatrixOfLosses(Vector):
    """Samples by tasks under a plain name; the whole term is left out where no sample is valid."""

    def forward(self, losses, is_valid):
        count = is_valid.float().sum(0)
        means = torch.where(is_valid.bool(), losses, torch.zeros_like(losses)).sum(0) / count.clamp(min=1)
        return ((torch.exp(-self.log_vars) * means + self.log_vars) * (count > 0)).sum()


class MissingLabels(Vector):
    """A matrix of predictions; a label that is missing is NaN, and a column of them is left out."""

    def forward(self, predictions, targets):
        there = ~torch.isnan(targets)
        means = [((predictions[m, i] - targets[m, i]) ** 2).mean() for i, m in enumerate(there.T) if m.any()]
        return sum(self.term(i, mean) for i, mean in zip(there.any(0).nonzero()[:, 0], means, strict=True))


class MarkedLabels(Vector):
    """Labels of -1 are masked, the regulariser stays."""

    def forward(self, outputs, labels):
        there = (labels != -1).float()
        means = (((outputs - labels) ** 2) * there).sum(0) / there.sum(0).clamp(min=1)
        return (torch.exp(-self.log_vars) * means + self.log_vars).sum()


class HeadsApart(nn.Module):
    """One prediction and one target each, of classes and of numbers."""

    def __init__(self):
        super().__init__()
        self.s = nn.Parameter(torch.zeros(2))

    def forward(self, kind_logits, size_pred, kind_target, size_target):
        kind = nn.functional.cross_entropy(kind_logits, kind_target)
        size = nn.functional.smooth_l1_loss(size_pred, size_target)
        return torch.exp(-self.s[0]) * kind + torch.exp(-self.s[1]) * size + self.s.sum()


class EmptyByAccident(ByName):
    """An empty loss makes an empty term, and a sum of nothing is 0: nobody meant it."""

    def forward(self, losses):
        return sum(self.term(name, losses[name]).sum() for name in self.order)


class GoesBack(nn.Module):
    """Random weights; calls backward itself and gives a pair."""

    def __init__(self, num_tasks):
        super().__init__()
        self.n = num_tasks

    def backward(self, losses, **kwargs):
        total = (torch.softmax(torch.randn(self.n), 0) * losses).sum()
        total.backward()
        return total, {}


class SlowMemory(nn.Module):
    """Weights follow the ratio of each loss to the last one, at a thousandth a step."""

    def __init__(self, n=3):
        super().__init__()
        self.last, self.weights = None, torch.ones(n)

    def forward(self, losses):
        now = losses.detach()
        if self.last is not None:
            ratio = torch.softmax(now / (self.last + 1e-12), 0) * len(now)
            self.weights = 0.999 * self.weights + 0.001 * ratio
        self.last = now
        return (self.weights * losses).sum()


class Shared:
    """GradNorm's own code: an optimiser of its own, and gradients with regard to what the tasks share."""

    def __init__(self, n_tasks, alpha=1.5):
        self.weights = nn.Parameter(torch.ones(n_tasks))
        self.optimizer = torch.optim.Adam([self.weights], lr=0.025)
        self.alpha, self.first = alpha, None

    def combine(self, losses, shared_params):
        values = torch.stack(list(losses))
        self.first = values.detach() if self.first is None else self.first
        norms = torch.stack([self._norm(w * loss, shared_params) for w, loss in zip(self.weights, losses, strict=True)])
        rates = values.detach() / self.first
        target = (norms.mean() * (rates / rates.mean()) ** self.alpha).detach()
        self.optimizer.zero_grad()
        self.weights.grad = torch.autograd.grad((norms - target).abs().sum(), self.weights, retain_graph=True)[0]
        self.optimizer.step()
        self.weights.data *= len(values) / self.weights.data.sum()
        return (self.weights.detach() * values).sum()

    def _norm(self, loss, shared_params):
        return torch.autograd.grad(loss, shared_params, retain_graph=True, create_graph=True)[0].norm()


class BareWeights(nn.Module):
    """Learned factors that nothing holds up: they go below 0."""

    def __init__(self, n_tasks: int):
        super().__init__()
        self.w = nn.Parameter(torch.ones(n_tasks))

    def forward(self, losses):
        return torch.dot(self.w, losses)


class GivenCriteria(nn.Module):
    """The criteria are handed to the constructor, in a list."""

    def __init__(self, loss_fns):
        super().__init__()
        self.loss_fns = loss_fns
        self.eta = nn.Parameter(torch.zeros(len(loss_fns)))

    def forward(self, outputs, targets):
        losses = [fn(output, target) for fn, output, target in zip(self.loss_fns, outputs, targets, strict=True)]
        return (torch.stack(losses) * torch.exp(-self.eta) + self.eta).sum()


class GivenCriteriaByName(nn.Module):
    """The same in a mapping; a name that is not among the predictions is left out."""

    def __init__(self, criteria: dict[str, nn.Module]):
        super().__init__()
        self.criteria = nn.ModuleDict(criteria)
        self.s = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in criteria})

    def forward(self, preds, targets):
        losses = {name: self.criteria[name](preds[name], targets[name]) for name in preds}
        return sum(torch.exp(-self.s[name]) * loss + self.s[name] for name, loss in losses.items())


class Numbered(nn.Module):
    """The losses' names are the tasks' numbers."""

    def __init__(self, num_tasks):
        super().__init__()
        self.s = nn.Parameter(torch.zeros(num_tasks))

    def forward(self, losses):
        return sum(torch.exp(-self.s[i]) * loss + self.s[i] for i, loss in losses.items())


class UnderAKey(nn.Module):
    """The losses are one entry of what it is handed."""

    def __init__(self, tasks=("a", "b", "c")):
        super().__init__()
        self.s = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in tasks})

    def forward(self, outputs):
        return sum(torch.exp(-self.s[name]) * loss + self.s[name] for name, loss in outputs["losses"].items())


class Optional(nn.Module):
    """Each task's loss may be given or not; one task is called like a number."""

    def __init__(self):
        super().__init__()
        self.seg, self.depth, self.normal = (nn.Parameter(torch.zeros(())) for _ in range(3))

    def forward(self, loss_seg=None, loss_depth=None, loss_normal=None):
        pairs = ((self.seg, loss_seg), (self.depth, loss_depth), (self.normal, loss_normal))
        return sum(torch.exp(-s) * loss + s for s, loss in pairs if loss is not None)


class OptionalLabels(nn.Module):
    """Two heads' predictions, and labels that may be missing."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))

    def forward(self, logits_a, logits_b, labels_a=None, labels_b=None):
        heads = ((self.a, logits_a, labels_a), (self.b, logits_b, labels_b))
        entropy = nn.functional.cross_entropy
        return sum(torch.exp(-s) * entropy(x, y) + s for s, x, y in heads if y is not None)


class Network(nn.Module):
    """A whole model, which weighs the losses in its training step."""

    def __init__(self, in_dim=3):
        super().__init__()
        self.layer, self.s = nn.Linear(in_dim, 1), nn.Parameter(torch.zeros(2))

    def forward(self, x):
        return self.layer(x)

    def training_step(self, batch, batch_idx):
        x, y, z = batch
        losses = torch.stack([(self(x) - y).square().mean(), (self(x) - z).abs().mean()])
        return (torch.exp(-self.s) * losses + self.s).sum()


class OwnLosses(nn.Module):
    """A whole model again: a loss a line, a trunk that is handed in, what is logged between, a pair returned."""

    def __init__(self, backbone, n_classes):
        super().__init__()
        self.trunk, self.head, self.log_vars = backbone, nn.Linear(8, n_classes), nn.Parameter(torch.zeros(2))

    def training_step(self, batch, batch_idx):
        features = self.trunk(batch["x"])
        loss_cls = nn.functional.cross_entropy(self.head(features), batch["y"])
        loss_attr = (features.square().mean(1) * batch["has"]).sum() / batch["has"].sum().clamp(min=1)
        total = torch.zeros(())
        for place, loss in enumerate((loss_cls, loss_attr)):
            total = total + torch.exp(-self.log_vars[place]) * loss + self.log_vars[place] + 0 * len(NAMES)
        print("logged", float(total))
        return total, {"cls": loss_cls.item()}


class OwnLoop(nn.Module):
    """A wrapper around a model that makes and weighs a loss at each turn."""

    def __init__(self, task_num, model):
        super().__init__()
        self.model, self.task_num = model, task_num
        self.log_vars = nn.Parameter(torch.zeros(task_num))

    def forward(self, x, targets):
        outputs = self.model(x)
        loss = 0
        raw = []
        for i in range(self.task_num):
            each = nn.functional.cross_entropy(outputs[i], targets[:, i], ignore_index=-100, reduction="sum")
            loss += torch.exp(-self.log_vars[i]) * each + self.log_vars[i]
            raw.append(each.item())
        return loss, raw


class RegulariserApart:
    """Weighs the present; the caller adds the regulariser, which speaks of all."""

    def __init__(self, names):
        self.names = tuple(names)
        self.rho = nn.Parameter(torch.full((len(self.names),), 0.5))

    def sigma(self):
        return nn.functional.softplus(self.rho)

    def weigh(self, losses, present):
        sigma = self.sigma()
        return sum(losses[name] / (2 * sigma[i] ** 2) for i, name in enumerate(self.names) if name in present)

    def regularizer(self):
        return torch.log(self.sigma()).sum()


class GaussianOutputs(nn.Module):
    """A likelihood of several outputs, with a matrix that says which labels there are."""

    def __init__(self, num_outputs):
        super().__init__()
        self.log_var = nn.Parameter(torch.zeros(1, num_outputs))

    def forward(self, mu, y, valid):
        valid = valid.to(mu.dtype)
        y = torch.where(valid.bool(), y, torch.zeros_like(y))
        likelihood = 0.5 * ((y - mu).square() * torch.exp(-self.log_var) + self.log_var) * valid
        return likelihood.sum() / valid.sum().clamp_min(1.0)


class FromTheCommandLine(nn.Module):
    """Starts and switches out of parsed arguments; a missing loss is None."""

    def __init__(self, args):
        super().__init__()
        learn = not args.no_learn
        self.s_seg = nn.Parameter(torch.tensor([args.init_log_var]), requires_grad=learn)
        self.s_edge = nn.Parameter(torch.tensor([args.init_log_var]), requires_grad=learn)

    def forward(self, loss_seg=None, loss_edge=None):
        total = torch.zeros(1)
        if loss_seg is not None:
            total = total + torch.exp(-self.s_seg) * loss_seg + self.s_seg
        if loss_edge is not None:
            total = total + torch.exp(-self.s_edge) * loss_edge + self.s_edge
        return total.squeeze()


class StepsTheModel:
    """Weights of the present with an optimiser each; the model's own optimiser is handed in at every step."""

    def __init__(self, tasks):
        self.s = {task: torch.zeros((), requires_grad=True) for task in tasks}
        self.own = {task: torch.optim.SGD([s], lr=0.1) for task, s in self.s.items()}

    def step(self, losses, model_opt):
        total = sum(torch.exp(-self.s[task]) * loss + self.s[task] for task, loss in losses.items())
        model_opt.zero_grad()
        total.backward()
        model_opt.step()
        for task in losses:
            self.own[task].step()
            self.own[task].zero_grad()
        return total.item()


class Counts(nn.Module):
    """Names one by one, counts of samples by name, a dataclass back."""

    def __init__(self, *names: str):
        super().__init__()
        self.names, self.log_precision = names, nn.Parameter(torch.zeros(len(names)))

    def forward(self, mean_losses, counts=None):
        counts = counts or dict.fromkeys(self.names, 1)
        parts = {
            name: 0.5 * (self.log_precision[i].exp() * mean_losses[name] - self.log_precision[i]) * counts[name]
            for i, name in enumerate(self.names)
        }
        return {"total": sum(parts.values()) / max(sum(counts.values()), 1), "parts": parts}


class Entries(nn.Module):
    """A list of entries, each with its name; terms of the present in a list, the regulariser apart."""

    def __init__(self, task_cfg):
        super().__init__()
        self.keys = [entry["name"] for entry in task_cfg]
        self.sigma = nn.Parameter(torch.tensor([entry.get("sigma", 1.0) for entry in task_cfg]))

    def forward(self, losses):
        return [loss / (2 * s**2) for s, loss in zip(self.sigma, losses, strict=True) if loss is not None]

    def penalty(self):
        return torch.log(torch.prod(self.sigma.abs() + 1e-6))


class Instances(nn.Module):
    """A loss an argument, None where there is none; one of the tasks is called mask."""

    def __init__(self):
        super().__init__()
        self.log_sigma_box, self.log_sigma_mask = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))

    def forward(self, box=None, mask=None):
        total = torch.zeros(1)
        if box is not None:
            total = total + box / torch.exp(2 * self.log_sigma_box) + self.log_sigma_box
        if mask is not None:
            total = total + mask / torch.exp(2 * self.log_sigma_mask) + self.log_sigma_mask
        return total.squeeze()


class Gathered(nn.Module):
    """Told one task after another, then asked for the total."""

    def __init__(self, names=("seg", "depth")):
        super().__init__()
        self.log_vars = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in names})
        self.parts = {}

    def add(self, name, loss):
        self.parts[name] = loss

    def total(self):
        parts, self.parts = self.parts, {}
        return sum(torch.exp(-self.log_vars[name]) * loss + self.log_vars[name] for name, loss in parts.items())


def after_a_warm_up(losses, log_vars, step, cfg):
    """A function that reads its settings at every call."""
    if step < cfg.warmup:
        return sum(losses.values())
    return sum(torch.exp(-log_vars[name]) * loss + cfg.reg * log_vars[name] for name, loss in losses.items())


class OnePerCall(nn.Module):
    """One task a call, as in alternating training."""

    def __init__(self, num_tasks: int):
        super().__init__()
        self.s = nn.Parameter(torch.zeros(num_tasks))

    def forward(self, loss, task_id: int):
        return torch.exp(-self.s[task_id]) * loss + self.s[task_id]


class LastChanges(nn.Module):
    """Softmax of the losses' last changes: what a gap leaves behind is gone after one step."""

    def __init__(self, num_tasks):
        super().__init__()
        self.before = None

    def forward(self, losses):
        now = torch.stack(losses).detach()
        change = now - (now if self.before is None else self.before)
        self.before = now
        return (torch.softmax(self._scaled(change), 0) * torch.stack(losses)).sum()

    def _scaled(self, change):
        return 0.1 * change


class RelativeChanges(LastChanges):
    """In shares of all changes: on the return a weight is within the range of what it does anyway."""

    def _scaled(self, change):
        return 0.1 * change / (change.abs().sum() + 1e-8)


class ChangesByName(nn.Module):
    """The same over a mapping, a history of five for each name."""

    def __init__(self, task_names):
        super().__init__()
        self.history = {name: [] for name in task_names}

    def forward(self, losses):
        for name, loss in losses.items():
            self.history[name] = [*self.history[name], loss.item()][-5:]
        changes = {name: (kept[-1] - kept[0]) / len(kept) for name, kept in self.history.items() if kept}
        whole = sum(map(abs, changes.values())) + 1e-8
        weights = {name: math.exp(0.1 * change / whole) for name, change in changes.items()}
        return sum(weights[name] / sum(weights.values()) * loss for name, loss in losses.items())


class OwnEpochs(nn.Module):
    """Each loss over its mean in the last epoch of 300 steps, by its own count."""

    def __init__(self, task_names):
        super().__init__()
        self.scale, self.kept, self.seen = dict.fromkeys(task_names, 1.0), {name: [] for name in task_names}, 0

    def forward(self, losses):
        self.seen += 1
        for name, loss in losses.items():
            self.kept[name].append(loss.item())
        if self.seen % 300 == 0:
            self.scale |= {name: sum(kept) / len(kept) for name, kept in self.kept.items() if kept}
            self.kept = {name: [] for name in self.kept}
        return sum(loss / self.scale[name] for name, loss in losses.items())


class Terms(NamedTuple):
    box: torch.Tensor
    category: torch.Tensor


class FromNamedTuple(nn.Module):
    """A named tuple of the losses."""

    def __init__(self, init: float = 0.0):
        super().__init__()
        self.box, self.category = (nn.Parameter(torch.tensor(init)) for _ in range(2))

    def forward(self, losses: Terms):
        box = torch.exp(-self.box) * losses.box + self.box
        return box + torch.exp(-self.category) * losses.category + self.category


@dataclass
class Given:
    speed: torch.Tensor | None = None
    slope: torch.Tensor | None = None
    depth: torch.Tensor | None = None


class FromDataclass(nn.Module):
    """A dataclass of the losses, None where one is not there."""

    def __init__(self):
        super().__init__()
        self.log_vars = nn.ParameterDict({field.name: nn.Parameter(torch.zeros(())) for field in fields(Given)})

    def forward(self, given: "Given"):
        named = {field.name: getattr(given, field.name) for field in fields(given)}
        there = {name: loss for name, loss in named.items() if loss is not None}
        return sum(torch.exp(-self.log_vars[name]) * loss + self.log_vars[name] for name, loss in there.items())


class KnownNames(nn.Module):
    """Asks for its losses by names that stand in its code alone."""

    def __init__(self):
        super().__init__()
        self.a, self.b = (nn.Parameter(torch.zeros(())) for _ in range(2))

    def forward(self, losses):
        return losses["near"] * torch.exp(-self.a) + self.a + losses["far"] * torch.exp(-self.b) + self.b


class Mapped(ByName):
    def forward(self, losses):
        return sum(self.scale * self.term(name, loss) for name, loss in losses.items())

    scale = 1.0


class NestedSettings(Mapped):
    """A configuration within a configuration, by attribute and by key."""

    def __init__(self, cfg):
        super().__init__(list(cfg.model.heads))
        self.scale = cfg["loss"].weighting["scale"]


@dataclass
class Weighting:
    start: float
    n_tasks: int


@dataclass
class Experiment:
    weighting: Weighting
    title: str


class TypedSettings(Vector):
    """Settings of a class of its own, within another one."""

    def __init__(self, experiment: Experiment):
        super().__init__(experiment.weighting.n_tasks)

    def forward(self, losses):
        return (torch.exp(-self.log_vars) * losses + self.log_vars).sum()


def with_its_parameters(n_losses):
    """A function that gives the weighting and what the optimiser gets."""
    log_vars = torch.zeros(n_losses, requires_grad=True)
    return lambda losses: sum(torch.exp(-s) * loss + s for s, loss in zip(log_vars, losses, strict=True)), [log_vars]


class Prepared(nn.Module):
    """A trainer tells it its tasks from outside, then has it make its parameters."""

    def init_param(self):
        self.scales = nn.Parameter(torch.full((self.task_num,), -0.5, device=self.device))

    def backward(self, losses, **kwargs):
        total = (losses * torch.exp(-self.scales) + self.scales).sum()
        total.backward()
        return torch.exp(-self.scales).detach().numpy()


class AroundAModel(nn.Module):
    """Calls the model itself, which gives two predictions."""

    def __init__(self, task_num, model):
        super().__init__()
        self.model, self.log_vars = model, nn.Parameter(torch.zeros(task_num))

    def forward(self, input, targets):
        outputs = self.model(input)
        first = (torch.exp(-self.log_vars[0]) * (targets[0] - outputs[0]) ** 2 + self.log_vars[0]).mean()
        return first + (torch.exp(-self.log_vars[1]) * (targets[1] - outputs[1]) ** 2 + self.log_vars[1]).mean()


class FromBatch(nn.Module):
    """Predictions by name, and a batch that holds each one's target and which of it are valid."""

    def __init__(self):
        super().__init__()
        self.a, self.b = (nn.Parameter(torch.zeros(())) for _ in range(2))

    def forward(self, outputs, batch):
        near = ((outputs["near"] - batch["near"]) ** 2 * batch["near_valid"]).sum() / batch["near_valid"].sum().clamp(1)
        far = ((outputs["far"] - batch["far"]) ** 2 * batch["far_valid"]).sum() / batch["far_valid"].sum().clamp(1)
        return near * torch.exp(-self.a) + self.a + far * torch.exp(-self.b) + self.b


class ByNumber(Vector):
    """The losses of the tasks that are there, and these tasks' numbers."""

    def forward(self, losses, task_ids):
        log_vars = self.log_vars[task_ids]
        return (torch.exp(-log_vars) * losses + log_vars).sum()


class Ascends(nn.Module):
    """A hook turns the weights' descent into ascent; without a loss they get no gradient."""

    def __init__(self):
        super().__init__()
        self.raw = nn.Parameter(torch.zeros(3))
        self.raw.register_hook(torch.neg)

    def forward(self, losses: list):
        return (nn.functional.softplus(self.raw) * torch.stack(losses)).sum()


class ByKind(Mapped):
    """Told of each task whether it is a regression or a classification."""

    def __init__(self, tasks: dict[str, str]):
        super().__init__(tasks)
        self.scales = [{"classification": 1.0, "regression": 0.5}[kind] for kind in tasks.values()]


class PartsOfGroups(Mapped):
    """Each task's losses are several."""

    def forward(self, losses):
        return super().forward({name: sum(parts.values()) for name, parts in losses.items()})


class GivenOrNot(nn.Module):
    """Keywords that are None where a loss is not there."""

    def __init__(self):
        super().__init__()
        self.log_vars = nn.ParameterList([nn.Parameter(torch.zeros(())) for _ in range(2)])

    def forward(self, *, loss_box=None, loss_class=None):
        pairs = [(s, loss) for s, loss in zip(self.log_vars, (loss_box, loss_class), strict=True) if loss is not None]
        return sum(torch.exp(-s) * loss + s for s, loss in pairs)


class TextModel(nn.Module):
    """A whole model that computes its losses where it is given labels."""

    def __init__(self, vocab_size=10, hidden_size=4):
        super().__init__()
        self.embed, self.head = nn.Embedding(vocab_size, hidden_size), nn.Linear(hidden_size, 3)
        self.log_vars = nn.Parameter(torch.zeros(2))

    def forward(self, input_ids, topic_labels=None, mood_labels=None):
        logits, total = self.head(self.embed(input_ids).mean(1)), 0.0
        for s, labels in zip(self.log_vars, (topic_labels, mood_labels), strict=True):
            if labels is not None:
                total = total + torch.exp(-s) * nn.functional.cross_entropy(logits, labels) + s
        return total, logits


class PoseCriterion(nn.Module):
    """Six arguments, one after another, and a helper that anybody may call."""

    def __init__(self):
        super().__init__()
        self.sx, self.sq = nn.Parameter(torch.tensor(0.0)), nn.Parameter(torch.tensor(-3.0))

    @staticmethod
    def masked_mean(x, m):
        return (x * m.to(x.dtype)).sum() / m.to(x.dtype).sum().clamp(min=1.0)

    def forward(self, xyz, quat, true_xyz, true_quat, xyz_valid, quat_valid):
        first = self.masked_mean((xyz - true_xyz).abs().sum(-1), xyz_valid)
        second = self.masked_mean((quat - true_quat).abs().sum(-1), quat_valid)
        return first * torch.exp(-self.sx) + self.sx + second * torch.exp(-self.sq) + self.sq


class FloatsOfAList:
    """Dynamic weight average that reads its losses one after another: of a dict it would read the keys."""

    def __init__(self, count=3):
        self.count, self.history = count, []

    def __call__(self, losses):
        weights = torch.ones(self.count)
        if len(self.history) > 1:
            ratios = torch.tensor(self.history[-1]) / (torch.tensor(self.history[-2]) + 1e-8)
            weights = self.count * torch.softmax(ratios / 2, 0)
        self.history.append([float(loss) for loss in losses])
        return sum(float(weights[place]) * losses[place] for place in range(self.count))


class StepsOnLayer:
    """GradNorm's call: losses and the layer that they share, and nothing handed back."""

    def __init__(self, count):
        self.weights = nn.Parameter(torch.ones(count))

    def step(self, losses, shared):
        norms = [torch.autograd.grad(loss, list(shared.parameters()), retain_graph=True)[0].norm() for loss in losses]
        self.weights.data -= 0.01 * torch.stack(norms)


class InverseNorms:
    """Wraps the optimiser of a model that is elsewhere."""

    def __init__(self, optimizer):
        self.optim = optimizer

    def backward(self, losses):
        parameters = [parameter for group in self.optim.param_groups for parameter in group["params"]]
        gradients = []
        for loss in losses:
            self.optim.zero_grad()
            loss.backward(retain_graph=True)
            zeros = [torch.zeros_like(parameter) for parameter in parameters]
            gradients.append(
                [zero if p.grad is None else p.grad.clone() for p, zero in zip(parameters, zeros, strict=True)]
            )
        norms = torch.stack([torch.cat([part.flatten() for part in parts]).norm() for parts in gradients])
        weights = 1 / norms.clamp_min(1e-12)
        for place, parameter in enumerate(parameters):
            parameter.grad = sum(w * parts[place] for w, parts in zip(weights / weights.sum(), gradients, strict=True))


class Projects:
    """PCGrad around an optimiser: what conflicts is projected away, and nothing is kept."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    def pc_backward(self, objectives):
        (weight,) = self.optimizer.param_groups[0]["params"]
        gradients = [torch.autograd.grad(loss, weight, retain_graph=True)[0] for loss in objectives]
        total = torch.zeros_like(weight)
        for own in gradients:
            for other in gradients:
                if own @ other < 0:
                    own = own - (own @ other) / (other @ other) * other
            total += own
        weight.grad = total


class RemembersAngles:
    """Gradients turned by what their angles used to be: an absence is taken for angles of 90 degrees."""

    def __init__(self, optimizer, beta=0.1):
        self.optimizer, self.beta, self.angles = optimizer, beta, {}

    def backward(self, losses):
        (weight,) = self.optimizer.param_groups[0]["params"]
        gradients = [torch.autograd.grad(loss, weight, retain_graph=True)[0] for loss in losses]
        total = torch.zeros_like(weight)
        for i, own in enumerate(gradients):
            for j, other in enumerate(gradients):
                if i != j:
                    angle = torch.nn.functional.cosine_similarity(own, other, dim=0).item()
                    self.angles[i, j] = (1 - self.beta) * self.angles.get((i, j), angle) + self.beta * angle
                    total += self.angles[i, j] * other
            total += own
        weight.grad = total


class StepsByNorms(nn.Module):
    """GradNorm: weights with an optimiser of their own, which a step on the shared layer moves."""

    def __init__(self, num_tasks=2):
        super().__init__()
        self.w = nn.Parameter(torch.ones(num_tasks))
        self.optimizer, self.first = torch.optim.Adam([self.w], lr=0.025), None

    def step(self, losses, shared):
        losses = torch.stack(list(losses))
        self.first = losses.detach() if self.first is None else self.first
        norms = [torch.autograd.grad(loss, shared, retain_graph=True)[0].norm() for loss in losses]
        norms = self.w * torch.stack(norms)
        rate = losses.detach() / self.first
        goal = norms.mean().detach() * (rate / rate.mean()) ** 1.5
        self.w.grad = torch.autograd.grad((norms - goal).abs().sum(), self.w)[0]
        self.optimizer.step()
        self.w.data *= len(self.w) / self.w.data.sum()
        return (self.w.detach() * losses).sum()


class LeastNorm(nn.Module):
    """Of two gradients the shortest mixture: one of length 0 takes all."""

    def __init__(self, params):
        super().__init__()
        self.shared = list(params)

    def forward(self, loss_a, loss_b):
        a, b = (torch.autograd.grad(loss, self.shared, retain_graph=True)[0] for loss in (loss_a, loss_b))
        share = ((b - a) @ b / ((a - b) @ (a - b) + 1e-12)).clamp(0, 1)
        return share * loss_a + (1 - share) * loss_b


class AtLastLayer(nn.Module):
    """The second loss is weighed by two gradients' norms at a layer that is handed over."""

    def forward(self, nll_loss, g_loss, last_layer):
        first, second = (torch.autograd.grad(loss, last_layer, retain_graph=True)[0] for loss in (nll_loss, g_loss))
        return nll_loss + (first.norm() / (second.norm() + 1e-4)).detach() * g_loss


def weighted_by_name(losses, log_vars):
    """A function that is handed the parameters of all tasks and the losses of those that are there."""
    return sum(torch.exp(-log_vars[name]) * loss + log_vars[name] for name, loss in losses.items())


def parameters_first(log_vars, losses):
    """The parameters before the losses, and all of them in the total."""
    return log_vars.sum() + sum(torch.exp(-s) * loss for s, loss in zip(log_vars, losses, strict=True))


class SparseLabels(nn.Module):
    """A matrix with NaN where a sample has no label of a task."""

    def __init__(self, n_assays=5):
        super().__init__()
        self.s = nn.Parameter(torch.zeros(n_assays))

    def forward(self, y_hat, y):
        known = ~torch.isnan(y)
        each = ((y_hat - torch.nan_to_num(y)) ** 2 * known).sum(0) / known.sum(0).clamp(min=1)
        return (torch.exp(-self.s) * each + self.s)[known.any(0)].sum()


class Scene(nn.Module):
    """Classes and depths by name, under other names than their targets; what has no label is left out."""

    def __init__(self, ignore_index=255):
        super().__init__()
        self.ignore_index = ignore_index
        self.s = nn.Parameter(torch.zeros(2))

    def classes(self, logits, target):
        keep = target != self.ignore_index
        return nn.functional.cross_entropy(logits[keep], target[keep]) if keep.any() else None

    def depths(self, prediction, target):
        keep = target > 0
        return (prediction[keep] - target[keep]).abs().mean() if keep.any() else None

    def forward(self, outputs, batch):
        terms = [self.classes(outputs["logits"], batch["labels"]), self.depths(outputs["disparity"], batch["depth"])]
        kept = [torch.exp(-s) * term + s for s, term in zip(self.s, terms, strict=True) if term is not None]
        return torch.stack(kept).sum()


class System(nn.Module):
    """A whole model with a training step; log variances stay in the total whatever the batch holds."""

    def __init__(self, channels=4):
        super().__init__()
        self.body, self.seg, self.depth = (
            nn.Conv2d(3, channels, 3),
            nn.Conv2d(channels, 5, 1),
            nn.Conv2d(channels, 1, 1),
        )
        self.s = nn.Parameter(torch.zeros(2))

    def forward(self, image):
        features = self.body(image).relu()
        return {"seg": self.seg(features), "depth": self.depth(features)}

    def training_step(self, batch, batch_idx=0):
        out, loss = self(batch["image"]), self.s.sum()
        if "seg" in batch:
            loss = loss + torch.exp(-self.s[0]) * nn.functional.cross_entropy(out["seg"], batch["seg"])
        if "depth" in batch:
            loss = loss + torch.exp(-self.s[1]) * nn.functional.mse_loss(out["depth"], batch["depth"])
        return loss


class TargetsThenPredictions(nn.Module):
    """A layer's one list: the targets of all outputs, then the predictions."""

    def __init__(self, outputs=2):
        super().__init__()
        self.s = nn.Parameter(torch.zeros(outputs))

    def forward(self, inputs):
        pairs = zip(self.s, inputs[: len(self.s)], inputs[len(self.s) :], strict=True)
        return sum((torch.exp(-s) * (y - y_hat) ** 2 + s).mean() for s, y, y_hat in pairs)


class Collects:
    """Is handed one loss after another, and asked for the total."""

    def __init__(self, names):
        self.s = {name: nn.Parameter(torch.zeros(())) for name in names}
        self.terms = []

    def register(self, name, loss):
        self.terms.append(torch.exp(-self.s[name]) * loss + self.s[name])

    def total(self):
        terms, self.terms = self.terms, []
        return sum(terms)


class PoseWithCamera(PoseCriterion):
    """As `PoseCriterion`, with something that nobody can guess."""

    def forward(self, pred_xyz, pred_quat, true_xyz, true_quat, xyz_valid, quat_valid, camera):
        pairs = (pred_xyz * camera["focal"], pred_quat, true_xyz * camera["focal"], true_quat)
        return super().forward(*(part[:, None] for part in pairs), xyz_valid, quat_valid)


class Priced(Vector):
    """A mask, and prices by name that nobody can guess."""

    def forward(self, losses, valid_mask, prices):
        terms = [self.term(i, loss) * prices[name] for i, (name, loss) in enumerate(losses.items())]
        return sum(term for term, here in zip(terms, valid_mask, strict=True) if here)


class WeightsAndPull:
    """Asked for its weights and for what is to be added, and told nothing."""

    def __init__(self, num_tasks=3):
        self.log_vars = nn.Parameter(torch.zeros(num_tasks))

    def get_weights(self):
        return torch.exp(-self.log_vars)

    def regulariser(self):
        return self.log_vars.sum()


class SampleByTask(nn.Module):
    """A loss for each sample and the number of its task, in the singular."""

    def __init__(self, num_tasks=4):
        super().__init__()
        self.log_var = nn.Embedding(num_tasks, 1)
        nn.init.zeros_(self.log_var.weight)

    def forward(self, sample_loss, task_id):
        s = self.log_var(task_id).squeeze(-1)
        return (torch.exp(-s) * sample_loss + 0.5 * s).mean()


class SomeRequired(nn.Module):
    """A method of its own, two of whose losses may be left out, and two not."""

    def __init__(self):
        super().__init__()
        self.eps = nn.ParameterDict({name: nn.Parameter(torch.ones(())) for name in "fbid"})

    def get_loss(self, loss_f, loss_b, loss_i=None, loss_d=None):
        given = {"f": loss_f, "b": loss_b, "i": loss_i, "d": loss_d}
        kept = {name: loss for name, loss in given.items() if loss is not None or name in "fb"}
        return sum(loss / (2 * self.eps[name] ** 2) + torch.log(self.eps[name] ** 2) / 2 for name, loss in kept.items())


class Counted(nn.Module):
    """Sums of losses and how many labels each is of: a term goes with its labels."""

    def __init__(self, num_tasks):
        super().__init__()
        self.log_b = nn.Parameter(torch.zeros(num_tasks))

    def forward(self, loss_sums, counts):
        total = loss_sums * torch.exp(-self.log_b) + counts * self.log_b
        return total.sum() / counts.sum().clamp(min=1)


class Annotated(nn.Module):
    """A mask by a participle, which stops an absent task's parameter and not its term."""

    def __init__(self, organs=("liver", "spleen", "kidney")):
        super().__init__()
        self.log_sigma = nn.Parameter(torch.zeros(len(organs)))

    def forward(self, organ_losses, annotated):
        annotated = torch.as_tensor(annotated, dtype=torch.bool)
        s = torch.where(annotated, self.log_sigma, self.log_sigma.detach())
        loss = torch.where(annotated, organ_losses, torch.zeros_like(organ_losses))
        return (0.5 * torch.exp(-2 * s) * loss + s).sum()


class BesideAMainLoss(nn.Module):
    """A main loss that nothing weighs, and auxiliary ones by name, of which some are active."""

    def __init__(self, aux_names=("value", "reward", "dynamics")):
        super().__init__()
        self.log_scale = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in aux_names})

    def forward(self, policy_loss: torch.Tensor, aux: dict[str, torch.Tensor], *, active: list[str] | None = None):
        total = policy_loss
        for name in self.log_scale if active is None else active:
            total = total + aux[name] * torch.exp(-self.log_scale[name]) + self.log_scale[name]
        return total, {"policy": policy_loss.item()}


class ByLeadTime(nn.Module):
    """A matrix and its validity under names that say neither; a vector would be summed up to one number."""

    def __init__(self, leads=(6, 24, 72)):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(len(leads)))

    def forward(self, rmse, valid):
        by_lead = (rmse * valid.to(rmse.dtype)).sum(0) / valid.sum(0).clamp_min(1)
        return (len(self.logits) * torch.softmax(self.logits, 0) * by_lead).mean()


class SentencePairs(nn.Module):
    """A loss for each sentence and the number of its language pair."""

    def __init__(self, pairs="de-en,fr-en,ro-en"):
        super().__init__()
        self.log_var = nn.Embedding(len(pairs.split(",")), 1)
        nn.init.zeros_(self.log_var.weight)

    def forward(self, sentence_loss, pair_id, reduce=True):
        s = self.log_var(pair_id).squeeze(-1)
        loss = torch.exp(-s) * sentence_loss + s
        return loss.sum() / sentence_loss.numel() if reduce else loss
