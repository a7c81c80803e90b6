"""Workflows: lists and graphs of steps, their runs as events, on a small durable core or on Zeebe.

`model` decides, without I/O. `store` keeps runs as rows of the gateway's storage, `engine` drives
them. Around it: `api` (the doors to it), `jobs` (how steps reach workers over HTTP and the mesh),
`kafka` (over Kafka), `providers` (functions in clouds), `zeebe` (flows that Zeebe keeps), `live`
(events for browsers), `stack` (all parts on one machine).
"""
