"""What decides about runs: pure, without I/O, clock or randomness; times are milliseconds.

`definition` says what a workflow is, `reading` reads one; `events` are what happened, `run` folds
them into a state, `deciding` says what happens next.
"""
