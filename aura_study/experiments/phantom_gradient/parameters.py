"""Parameters of notebook 03."""

from pydantic import Field

from aura_study.runs.parameters import Parameters


class PhantomGradientParameters(Parameters):
    """Parameters of notebook ``03_phantom_gradient``."""

    notebook = "03_phantom_gradient"
    profiles = {"smoke": {"points": 9, "absent_steps": 60}, "full": {"points": 101, "absent_steps": 1000}}

    points: int = Field(25, ge=3, le=10_000, description="values of sigma at which the gradient is measured")
    lr: float = Field(0.01, gt=0, le=1, description="learning rate of sigma in the demonstration")
    absent_steps: int = Field(300, ge=10, le=100_000, description="steps without the task in the demonstration")
    seed: int = Field(0, ge=0, description="of the model and the batch on which the mask is checked")
