"""Signatures, beside those of others.

`sigv4_vectors.json` is what botocore 1.44.5 signs (its `SigV4Auth`, the clock held); botocore
itself is 31 MB, and what it signs does not change. The example is of AWS's own test suite.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from gossamer_gateway.runs.providers import sigv4
from gossamer_gateway.runs.providers.sigv4 import Keys, signed

VECTORS = json.loads((Path(__file__).parent / "sigv4_vectors.json").read_text(encoding="utf-8"))
EXAMPLE = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")


@pytest.mark.parametrize("vector", VECTORS, ids=lambda one: one["name"])
def test_as_botocore_signs(vector: dict[str, Any]) -> None:
    found = signed(
        vector["method"],
        vector["url"],
        vector["headers"],
        vector["body"].encode(),
        Keys("AKIDEXAMPLE", vector["secret"], vector["token"]),
        region=vector["region"],
        service=vector["service"],
        at=vector["at"],
        query=[(name, value) for name, value in vector["query"]],
    )
    assert found["authorization"] == vector["authorization"]


def test_as_aws_says_get_vanilla() -> None:
    """`get-vanilla` of AWS's Signature Version 4 test suite."""
    found = signed(
        "GET", "https://example.amazonaws.com/", {}, b"", EXAMPLE,
        region="us-east-1", service="service", at="20150830T123600Z",
    )  # fmt: skip
    assert found["authorization"].endswith(
        "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    )


def test_keys_are_not_shown() -> None:
    shown = repr(Keys("id", "the secret", "the token"))
    assert "the secret" not in shown and "the token" not in shown


def test_it_is_small() -> None:
    source = sigv4.__file__
    assert source is not None and Path(source).read_text(encoding="utf-8").count("\n") <= 60
