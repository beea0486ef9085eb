"""The terms of the training objective: pure functions of tensors, each in its own module, weighted by the caller."""
