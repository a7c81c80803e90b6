"""Runs in the browser: a bridge from the log of events to WebSockets, and web components on it.

`asked` reads what a page wants, `frames` writes what it is sent, `bridge` reads the log once for
all pages, `socket` is the door to it at `/workflow/events`, `page` serves the module with the
components and the page at `/live/` that hosts them. The components' sources are in
`gateway/live-page`.
"""
