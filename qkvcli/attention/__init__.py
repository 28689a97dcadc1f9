"""Attention(q, D) = Σᵢ α(q, kᵢ) vᵢ: scores become weights, and a fold pools values under them."""
