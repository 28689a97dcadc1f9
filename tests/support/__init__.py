"""What the tests share: the command run as a user runs it, and what must hold of every run."""
