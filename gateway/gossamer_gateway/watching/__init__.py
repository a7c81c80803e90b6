"""The mesh as this gateway sees it: asked, kept as plain values, and told as events."""
