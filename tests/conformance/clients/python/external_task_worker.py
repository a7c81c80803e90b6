"""The hotel's six topics, worked by camunda-external-task-client-python3.

Arguments: base URL of the REST API, prefix of the topics. Ends when its standard input does.
"""

import json
import os
import sys
import threading

from camunda.external_task.external_task import ExternalTask, TaskResult
from camunda.external_task.external_task_worker import ExternalTaskWorker
from tests.conformance.clients.python.hotel_rules import RULES, TaskError

base_url, prefix = sys.argv[1:]


def work(task: ExternalTask) -> TaskResult:
    topic, inputs = task.get_topic_name(), task.get_variables()
    line = {
        "topic": topic,
        "job": task.get_task_id(),
        "instance": task.get_process_instance_id(),
        "variables": inputs,
    }
    print(json.dumps(line), flush=True)
    try:
        return task.complete(RULES[topic.removeprefix(prefix)](inputs))
    except TaskError as error:
        return task.bpmn_error(error.code, error.message, error.variables)


def main() -> None:
    # Five minutes' sleep after an error is its default.
    worker = ExternalTaskWorker("python7", base_url, {"sleepSeconds": 1})
    topics = [prefix + topic for topic in RULES]
    threading.Thread(target=worker.subscribe, args=(topics, work), daemon=True).start()
    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.read()
    os._exit(0)  # the thread is in a long poll, and the client has no way to end it


if __name__ == "__main__":
    main()
