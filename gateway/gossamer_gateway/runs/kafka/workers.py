"""Which actions nobody works for: the group in which an action's workers consume has no member.

Only Kafka knows who consumes a topic, so it is asked when a person looks at a run that waits. What
it says is taken for true for some seconds. Where it says nothing, because it is away or a gateway
may not ask, nothing is known, and nothing is told.
"""

from collections.abc import Collection, Sequence
from itertools import islice

import trio
from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from gossamer_gateway.runs.kafka.cluster import Cluster

GROUP = "workflow-worker."
"""Before an action: its workers share this consumer group, so that each job goes to one of them."""

KNOWN_S = 5.0
ASKED_MAX = 50
"""Actions in one question; of the others nothing is told then."""

KNOWN_MAX = 1_000
_TIMEOUT_S = 2.0


class Workers:
    """What Kafka says of the workers of actions."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._known: dict[str, tuple[float, bool]] = {}

    async def idle(self, actions: Collection[str]) -> set[str]:
        """Those of these actions that are known to have no worker."""
        now_s = trio.current_time()
        unknown = (one for one in sorted(set(actions)) if self._known.get(one, (0.0,))[0] <= now_s)
        asked = list(islice(unknown, ASKED_MAX))
        if asked:
            found = await trio.to_thread.run_sync(
                _ask, self._cluster, asked, abandon_on_cancel=True
            )
            if len(self._known) > KNOWN_MAX:
                self._known.clear()
            self._known.update((one, (now_s + KNOWN_S, one in found)) for one in asked)
        return {one for one in actions if self._known.get(one, (0.0, False))[1]}


def _ask(cluster: Cluster, actions: Sequence[str]) -> set[str]:
    # Kept until its futures are done: without it they fail.
    client = AdminClient(cluster.settings)
    groups = {GROUP + one: one for one in actions}
    try:
        futures = client.describe_consumer_groups(list(groups), request_timeout=_TIMEOUT_S)
    except KafkaException:
        return set()
    idle = set()
    for group, future in futures.items():
        try:
            said = future.result(_TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                idle.add(groups[group])
        except TimeoutError:
            break
        else:
            # A group whose members are just joining has some, but does not show them.
            if said.state in (ConsumerGroupState.DEAD, ConsumerGroupState.EMPTY):
                idle.add(groups[group])
    return idle
