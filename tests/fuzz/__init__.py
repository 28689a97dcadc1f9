"""Fuzzing of the readers: valid files, broken at random, must be read or refused in one line."""
