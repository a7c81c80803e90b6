"""The embedded engine: a small BPMN engine that speaks Camunda 7's REST dialect, in one process.

`command` is `gossamer engine`; `api` the dialect over HTTP; `engine` decides; `flow` asks
SpiffWorkflow where a token goes; `bpmn` reads models and refuses what is not run; `store` keeps
everything in one SQLite file, `committer` many requests in one transaction.
"""
