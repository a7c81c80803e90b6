"""What the gateway knows of the engines' processes and their instances: which engine has which.

It is what went through the gateway, what it saw at jobs and what engines told, so it may be behind
and need not be complete; `whereabouts` asks the engines where it has no answer. In one thing it is
the only truth: engines of Camunda 8 (8.6) keep no business key, so theirs are kept here.

`instances` and `definitions` are functions over rows, within the caller's transaction; `sightings`
stands before them where jobs come by the hundred.
"""
