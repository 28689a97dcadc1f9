"""What each head of a model does: statistics of its weights."""
