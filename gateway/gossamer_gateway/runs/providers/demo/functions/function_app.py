"""The payment as functions of Azure."""

import json

import azure.functions as func
import payment

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)


@app.route(route="authorize", methods=["POST"])
def authorize(req: func.HttpRequest) -> func.HttpResponse:
    return _answer("authorize", req)


@app.route(route="charge", methods=["POST"])
def charge(req: func.HttpRequest) -> func.HttpResponse:
    return _answer("charge", req)


@app.route(route="receipt", methods=["POST"])
def receipt(req: func.HttpRequest) -> func.HttpResponse:
    return _answer("receipt", req)


def _answer(name: str, req: func.HttpRequest) -> func.HttpResponse:
    found = payment.FUNCTIONS[name](req.get_json(), req.headers["idempotency-key"], "AZURE")
    return func.HttpResponse(json.dumps(found), mimetype="application/json")
