"""Training: settings, batches, optimisation, checkpoints and the loop."""
