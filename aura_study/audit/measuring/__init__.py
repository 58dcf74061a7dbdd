"""How a weighting behaves while a task is away, over a long absence, and when the task comes back."""
