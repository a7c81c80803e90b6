"""Functions in clouds: tasks of a run that are calls of AWS Lambda, Google's or Azure's functions.

`port` says what a provider is, `classifying` and `circuit` decide (both pure), `exchange` is the
HTTP below, `calling` what all adapters share, `http_functions` what those of Google and Azure do.
`aws`, `gcp` and `azure` are the adapters with their credentials beside them (`issuers` asks for
these, `keeping` keeps them), `invoker` makes the calls that the runs ask for, and `health`
remembers how they went.

The clouds' own Python libraries are not used: botocore is 31 MB, google-auth and azure-identity
bring an HTTP stack of their own each, all three block or want asyncio, and a gateway needs one
request of each. What is signed here is compared in the tests with what botocore signs, and with the
examples that AWS publishes.
"""
