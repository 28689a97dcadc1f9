"""Mutation testing of the fold, the scores and the readers; docs/mutants.md says what it found."""
