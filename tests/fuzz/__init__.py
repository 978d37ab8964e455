"""Random calls of everything public with hostile arguments: a right result or a documented error.

`python -m tests.fuzz --cases 1000000 --seed 1` runs so many, and `--case 12345` one of them again.
A case is a pure function of seed and index.
"""
