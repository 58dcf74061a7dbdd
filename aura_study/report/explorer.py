r"""The explorer's settings: its controls, presets, constants and words, all read from the package where it knows them.

The page draws with uPlot: 120 kB of MIT-licensed JavaScript without dependencies, which redraws thousands of points
while a slider moves. It comes from the package ``uplot-python`` and is copied into the site when that is built.
(plotly's package would do as well and add 4.7 MB to every report.)
"""

from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from aura_study.experiments.aura_log.run import V10_2
from aura_study.experiments.phase_diagram.figures import PHASE_COLOURS
from aura_study.experiments.phase_diagram.maps import BAND, PHASES, WARM_UP, practice
from aura_study.experiments.phase_diagram.parameters import PhaseDiagramParameters
from aura_study.figures.style import POLICY_LABELS
from aura_study.theory.forms import FORMS
from aura_study.theory.optimizers import SGD, Adam, Optimizer

PLOTTING = ("uPlot.iife.js", "uPlot.min.css")
"""Files of ``uplot-python`` that the page needs."""

OFFERED_OPTIMIZERS: dict[str, Optimizer] = {
    "SGD": SGD(),
    "Adam": Adam(),
    "AdamW": Adam(weight_decay=V10_2.weight_decay),
}
GAPS = {"absent": "absent", "solved": "present and solved"}
"""What the task is in the stretch, in words."""
REGIMES = {
    "harmless": "The returning task weighs less than twice what its loss asks for.",
    "inflated": "The returning task weighs at least twice what its loss asks for: an undeclared reweighting, not a "
    "collapse.",
    "exploded": "The stretch itself has made the weight at least ten times larger; it comes back sooner than the "
    "stretch lasted.",
    "slow recovery": "The stretch has made the weight at least ten times larger, and unlearning that takes longer than "
    "the stretch did.",
    "switched off": "A step after the return throws σ far up: the weight falls below a tenth of what the loss asks "
    "for, and the task goes silent.",
    "NaN": "σ reaches 0 or the weight overflows: the total loss is not a number, and the training is over.",
}
"""What each regime of the phase diagram means, in the words of its conditions."""


@dataclass(frozen=True)
class Control:
    """A number that the reader sets: URL name, label, range, whether it is a whole number, and what it means."""

    name: str
    label: str
    low: float
    high: float
    default: float
    hint: str
    whole: bool = False


def controls() -> list[Control]:
    """The numbers of a setting, in the page's order; the defaults are the first preset's."""
    start = presets()[0]["setting"]
    return [
        Control("lr", "Learning rate of σ", 1e-6, 1, start["lr"], "constant over the run"),
        Control(
            "absent", "Steps of the stretch", 1, 10_000, start["absent"], "without the task, or with it solved", True
        ),
        Control("p", "Presence p", 0.01, 1, start["p"], "share of the other steps in which the task is present"),
        Control("loss", "Loss level L", 0.01, 100, start["loss"], "mean loss of the task where it is present"),
        Control("noise", "Noise of the loss", 0.05, 1, start["noise"], "its standard deviation over its mean"),
        Control("after", "Steps shown after the return", 50, 5000, start["after"], "of those that are run", True),
        Control("seed", "Seed", 0, 9999, start["seed"], "of the presences and losses", True),
    ]


def presets() -> list[dict[str, Any]]:
    """Settings worth a look, each with a label and a sentence; the first is what the page opens with."""
    met = practice(PhaseDiagramParameters()).set_index("setting").to_dict("index")
    usual = {
        "form": "log_sigma",
        "gap": "absent",
        "loss": 1.0,
        "noise": PhaseDiagramParameters().noise,
        "after": 600,
        "seed": 0,
    }

    def from_practice(name: str, **changes: Any) -> dict[str, Any]:
        row = met[name]
        taken = {"lr": float(row["rate"]), "absent": int(row["absent_steps"]), "p": float(row["presence"])}
        return usual | {"optimizer": str(row["optimizer"])} | taken | changes

    collapse = from_practice("sigma at 1e-2, a curriculum of 300 steps", after=1200)
    aura = {
        "form": "aura_softplus",
        "optimizer": "AdamW",
        "lr": V10_2.rate,
        "absent": V10_2.steps_per_epoch,
        "p": round(V10_2.presence("reporting"), 4),
    }
    rare = from_practice("fine-tuning, a rare task", p=0.03, after=2000)
    found = [
        ("The collapse", "A curriculum leaves a task out for 300 steps.", collapse),
        ("The same under SGD", "No memory, and steps as large as the gradient.", collapse | {"optimizer": "SGD"}),
        ("AURA’s own rates", "Its reporting task stays away for one epoch of the V10.2 run.", usual | aura),
        ("A rare task, p = 0.03", "Most of the harm is done by its rarity, little by the absence.", rare),
        ("Whiplash", "SGD at a high rate, 20 steps without the task.",
         from_practice("SGD at 0.1, 20 steps without a task")),
        ("NaN", "The guide’s formula read literally: SGD on σ itself.",
         collapse | {"form": "sigma", "optimizer": "SGD", "absent": 100, "after": 200}),
        ("Solved, not absent", "The task is there and its loss is 0: a mask has nothing to mask.",
         collapse | {"gap": "solved"}),
        ("A bounded form", "The collapse’s rates on AURA’s softplus.", collapse | {"form": "aura_softplus"}),
    ]  # fmt: skip
    return [{"label": label, "about": about, "setting": setting} for label, about, setting in found]


def settings() -> dict[str, Any]:
    """Everything the page's scripts need to know, as JSON."""
    return {
        "controls": [asdict(control) for control in controls()],
        "forms": list(FORMS),
        "gaps": GAPS,
        "formulas": {name: f"term: {form.term}" for name, form in FORMS.items()},
        "presets": presets(),
        "policies": list(POLICY_LABELS),
        "policyLabels": POLICY_LABELS,
        "optimizers": {
            name: {"adam": isinstance(one, Adam), **asdict(one)} for name, one in OFFERED_OPTIMIZERS.items()
        },
        "regimes": list(PHASES),
        "warmUp": WARM_UP,
        "horizon": PhaseDiagramParameters().horizon,
        "band": BAND,
    }


def regimes() -> list[dict[str, str]]:
    """The phase diagram's regimes from mild to fatal: name, colour of the diagram, meaning."""
    return [
        {"name": name, "colour": colour, "words": REGIMES[name]}
        for name, colour in zip(PHASES, PHASE_COLOURS, strict=True)
    ]


def plotting_files() -> list[Path] | None:
    """uPlot's script and style sheet as installed, or ``None`` if they are not."""
    try:
        files = metadata.files("uplot-python") or ()
    except metadata.PackageNotFoundError:
        return None
    found = {file.name: Path(str(file.locate())) for file in files if file.name in PLOTTING}
    paths = [found[name] for name in PLOTTING if name in found and found[name].is_file()]
    return paths if len(paths) == len(PLOTTING) else None
