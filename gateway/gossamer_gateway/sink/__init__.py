"""What Zeebe's exporter tells: rows of instances, variables, jobs and incidents.

Zeebe 8.6 cannot be asked what runs in it; it hands each record of its log to exporters instead. The
one that it brings along posts them to Elasticsearch's bulk endpoint, and `bulk` answers there.
`records` makes changes of rows out of what comes, `store` keeps the rows, `reading` asks them, and
`freshness` tells when they can no longer be believed.
"""
