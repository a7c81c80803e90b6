"""Do the steps of Gossamer's workflows: jobs from Kafka, or over HTTP from a gateway."""

from gossamer_worker.context import Context
from gossamer_worker.failures import WorkerError
from gossamer_worker.worker import Handler, Worker

__all__ = ["Context", "Handler", "Worker", "WorkerError"]
