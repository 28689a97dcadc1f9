"""Folds run: what is asked is resolved for a database, and worked out by threads, processes, …"""
