"""Runs whose flow a Zeebe keeps: each workflow is a BPMN process there, each run an instance.

Zeebe says which task is next; it has the token of every branch, replicated and on disk. All that
happens within a task is the gateway's: attempts, retries, failover, payloads. So workers, doors and
events are the same as in own execution, and the decisions are by the same code.

`compiling` makes the process, `layout` draws it, `steering` says where a decided run goes on,
`client` speaks to Zeebe, `executor` does it all.

Zeebe's locks are the safety net. A job is activated, the step it stands for is put on disk, and the
job completed when the step is. If a gateway dies anywhere in between, the lock runs out, the job
comes again, to this gateway or another, and meets a run in which nothing changes (`reached`) or
whose step is done, whereupon it is completed. Nothing about jobs is kept here but their keys, in
the events, so that any gateway can complete what another activated.
"""
