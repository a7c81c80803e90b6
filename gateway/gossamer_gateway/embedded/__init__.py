"""The embedded engine: a small BPMN engine that speaks Camunda 7's REST dialect, in one process.

`command` is `gossamer engine`, `server` its process. From outside to inside: `draining` and `api`
take requests (`requests` reads them, `dialect` writes the answers); `polls` lets workers wait;
`committer` puts many commands into one transaction; `engine` decides, `walk` moves tokens, `flow`
asks SpiffWorkflow which way, `definitions` keeps models that `bpmn` has read or refused, with
`expressions` for their conditions and `values` for variables; `store` is the SQLite file, `queries`
its lists.
"""
