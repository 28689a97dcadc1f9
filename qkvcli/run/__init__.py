"""Folds run: over blocks, in threads, for a lookup, a pool or a bandwidth."""
