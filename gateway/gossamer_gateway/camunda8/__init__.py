"""What Camunda 8's API means over all engines, in the forms of its REST v2: no HTTP, no gRPC.

`operations` is the table of everything that is answered here, and each face (`v2`, `zeebe`) reads
its own wire into the same requests. A number names its engine (`places`): the engine's own key goes
through untouched, in the face's own bytes; one of ours stands for an id of Camunda 7, and the
operation's translation asks that engine. Whatever says no is a `Refused`, in Camunda 8's words.
"""
