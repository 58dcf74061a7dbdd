"""Running the study: notebooks in order, each only if something it depends on has changed."""

from aura_study.errors import StudyError
from aura_study.study.notebook import NotebookFailed
from aura_study.study.registry import notebook_names, parameter_classes
from aura_study.study.request import Request
from aura_study.study.runner import Outcome, run_study

__all__ = ["NotebookFailed", "Outcome", "Request", "StudyError", "notebook_names", "parameter_classes", "run_study"]
