"""Tests of the HTML explorer: the file, its scripts, and the page in a browser."""
