"""The explorer: one HTML file in which attention is looked at, and which asks for nothing else.

    explore → measures, codes, halves → page (page.html, style.css and the scripts)

``explorer`` gives the file of a selection; ``explore`` gives that of arrays, for notebooks.
"""
