"""A rendered world with exact depth, motion and semantics."""
