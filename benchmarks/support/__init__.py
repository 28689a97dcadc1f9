"""What the benchmarks share: runs by turns, their table, and the data they are run on."""
