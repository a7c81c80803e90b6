"""At the door: who comes in to the gateway, how much of it, and from which web pages.

`principals` says who somebody is and what he may, `rules` what a request needs. `credentials` reads
what a request brings; `api_keys`, `tokens` and `certificates` tell whose it is. `limits` says how
much, `cors` from which pages, `config` what a person writes about all that. `asgi` puts it in front
of the HTTP application and `calls` in front of gRPC; `serving` makes Hypercorn tell a client's
certificate and end slow clients.
"""
