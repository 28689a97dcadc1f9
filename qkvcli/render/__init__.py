"""Answers drawn: tables for people, formats for machines, and the one place that opens outputs."""
