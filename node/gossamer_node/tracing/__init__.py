"""Traces: what became of one request or job, step by step, over every process that it went through.

A *span* is one step with a beginning and an end; spans of one *trace* name each other as parents.
What travels between processes is the W3C's `traceparent` alone (`traceparent`). The house speaks
to a small port (`port`), whose default does nothing and costs next to nothing; OpenTelemetry stands
behind it (`opentelemetry`) where an installation has the extra `otel` and the configuration names a
collector. Rules:

1. A trace is whole or is not: who begins it decides by the configured ratio, and all others follow.
2. Spans name engines, topics, ids and outcomes. They never hold values of variables, headers or
   anything that opens a door, and every attribute is bounded.
3. A collector that is away costs spans, which are dropped beyond a bounded queue, and no work.
"""
