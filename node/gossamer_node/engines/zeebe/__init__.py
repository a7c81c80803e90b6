"""The Zeebe gateway's protocol: `gateway.proto`, and what protoc makes of it.

`gateway.proto` is the one in the Maven artifact io.camunda:zeebe-gateway-protocol-impl:8.6.0,
unchanged, under the Apache License 2.0 as its POM says. `gateway_pb2.py` and `gateway_pb2.pyi` are
made of it in this folder by the grpcio-tools of the developer's environment:

    python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. gateway.proto

A test makes them again and compares.
"""
