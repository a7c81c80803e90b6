"""Clouds on this machine, for the demo and the tests: the clouds' own runtimes of functions, each
behind a small front of ours that checks credentials as the cloud does.

The runtimes are AWS's `awslambdaric`, Google's `functions-framework` and Microsoft's
`azure-functions-runtime`, in virtual environments of their own (`venvs`). What is before them is
ours, written from the clouds' references; no cloud was asked. A host is a process with its
runtimes as children in one process group, so that killing the group is an outage.
"""
