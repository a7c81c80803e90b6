"""Who is there, and who holds which work: membership by gossip, and leases.

`swim` and `leases` are pure state machines: they take datagrams, timers and commands with
`now_ms`, and give back datagrams, timers and events. `drivers` run them on trio.
"""
