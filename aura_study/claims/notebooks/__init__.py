"""What is claimed: one module a notebook, of its name, with its claims and their rules."""
