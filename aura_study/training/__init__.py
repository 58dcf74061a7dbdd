"""The AURA model and one training loop under any weighting: model, loop, recording, scores, one run as a job."""
