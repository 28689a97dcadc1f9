"""Heatmaps: weights are selected and reduced, laid out as plain data, and painted.

    request → weights → select → pixels → picture → layout → svg | matplotlib_painter
                          │              (scale)  └──→ terminal
                          └──→ save | html

``draw`` runs these steps. Only ``matplotlib_painter`` (and a colour map that is not built in)
imports Matplotlib.
"""

PICTURES = ("svg", "png", "pdf")
"""What a painter is for, by the ending of a file; ``draw.pieces`` calls it."""
