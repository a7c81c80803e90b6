"""The payment as functions of AWS Lambda."""

from typing import Any

import payment


def authorize(event: payment.Order, context: Any) -> payment.Order:
    return payment.authorize(event, _key(context), "AWS")


def charge(event: payment.Order, context: Any) -> payment.Order:
    return payment.charge(event, _key(context), "AWS")


def receipt(event: payment.Order, context: Any) -> payment.Order:
    return payment.receipt(event, _key(context), "AWS")


def _key(context: Any) -> str:
    key: str = context.client_context.custom["idempotencyKey"]
    return key
