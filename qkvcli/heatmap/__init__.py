"""Heatmaps: weights are chosen and reduced, laid out as plain data, and painted.

    stack → panels → picture → layout → svg | figure
                             └────────→ terminal

Only ``figure`` (and a colour map that is not built in) imports Matplotlib, only ``terminal`` Rich.
"""
