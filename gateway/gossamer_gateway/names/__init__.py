"""One thing, a name in each dialect.

Camunda 7 names by UUIDs, Camunda 8 by whole numbers of 64 bits. A client keeps what it was told
and sends it back, perhaps to another gateway, perhaps after a restart, so a name once said stays
good. A number fits into a UUID and is read out of it again (`forms`): nothing has to be remembered.
A UUID doesn't fit into a number: `numbers` gives it one, and has it on the disk before anybody
hears of it.
"""
