"""Cameras, rigid motions and view synthesis: pure, differentiable functions of tensors that know no networks."""
