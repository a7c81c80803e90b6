"""Bytes from anybody become code: what a module is, checked before it is compiled."""
