"""What the gateway counts and traces of its own work: requests, calls at engines, polls, refusals.

Every label is bounded: by the door's table of endpoints (`door.rules`), by the configuration's
engines and limits, by statuses. What a client can make up (a path, a method, an id) is no label.
"""
