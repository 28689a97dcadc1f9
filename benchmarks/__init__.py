"""Speed and memory of qkv beside other programs: measured, printed, never a test."""
