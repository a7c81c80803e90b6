"""Jobs on their way through this node.

`electing` says who asks an engine for work, `claiming` asks, `leasing` spreads what came over the
mesh and takes what others spread, `executing` runs it, `settling` tells the engine; `wire` is how
jobs and outcomes travel.
"""
