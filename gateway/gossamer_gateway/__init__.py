"""The gateway: one HTTP API over every engine, and the engine embedded for people without Java."""
