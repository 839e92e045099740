"""Train the small pipelines: losses, the optimiser, gradients from several threads."""
