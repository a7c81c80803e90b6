"""Membership by gossip, without I/O, in the Python that MicroPython runs too. See `protocol`."""
