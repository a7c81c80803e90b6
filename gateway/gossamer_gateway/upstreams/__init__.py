"""The engines as the gateway reaches them: bytes there, bytes back, and whether they answer."""
