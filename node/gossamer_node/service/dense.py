"""service.yaml's `dense`: how the live instances of a dense service are kept.

Live instances are a cache that the worker may use and must not count on: every bound here ends in
one being let go. What has to last is the state that a worker keeps for a key.
"""

from collections.abc import Iterable

from gossamer_node.schema import Choice, Field, Record, Text, Whole, duration, size
from gossamer_node.service.spec import Dense, ServiceSpec

KEY_POINTER = Text(
    "a JSON Pointer into the job's input, such as `/job/business_key` or `/variables/order/id`",
    255,
    r"(/[^/]+)+",
)


def _check_key(dense: Dense) -> Iterable[tuple[str, str]]:
    first, *rest = (dense.key or "/job/key").split("/")[1:]
    if first not in ("job", "variables"):
        yield "key", f"an input has no {first}; begin with `/job/` or `/variables/`"
    elif not rest:
        yield "key", "this is a whole map; name what is in it, such as `/job/business_key`"


DENSE = Record(
    "Dense",
    "How the live instances of a service with `profile: dense` are kept. One that is let go takes "
    "along what it had in memory; the next job has a new one, with the state that the worker "
    "kept.",
    Dense,
    (
        Field(
            "key",
            KEY_POINTER,
            "key",
            "Where in its input (sdk-wasm/ABI.md, §3) a job has its key: text, a whole number or a "
            "flag. Each key has an instance of its own, one job at a time, and may keep state. "
            "That holds over all nodes that work on the service, and state goes along.",
            "Any idle instance takes any job.",
            default_words="none",
        ),
        Field(
            "live",
            Whole(1, 1_000_000),
            "live",
            "So many instances live at once on one node. Its memory and its kernel's limits may "
            "allow fewer; the log says so at the start.",
            "An instance takes 15 KB and more.",
        ),
        Field(
            "when_full",
            Choice(("evict", "refuse")),
            "when_full",
            "When that many live, or the node can hold no more: `evict` the idle one that was "
            "longest unused, or `refuse` the new one, whose job then fails.",
            "Work goes on. A worker that keeps in memory what it cannot lose refuses.",
        ),
        Field(
            "idle",
            duration("1s", "720h"),
            "idle_ms",
            "An instance unused for so long is let go.",
            "What is used every now and then stays; what is not makes room.",
        ),
        Field(
            "age",
            duration("1s", "720h"),
            "age_ms",
            "An instance older than this is let go when its job ends.",
            "A slow leak or a worn random seed lasts a day at most.",
        ),
        Field(
            "jobs",
            Whole(1, 1_000_000_000),
            "jobs",
            "An instance is let go after so many jobs.",
            "As `age`, for busy ones.",
        ),
        Field(
            "memory",
            size("64KiB", "4GiB"),
            "memory_bytes",
            "An instance whose memory is larger than this when its job ends is let go: linear "
            "memory never shrinks.",
            "One large job in a thousand must not cost memory for ever.",
        ),
        Field(
            "waiting",
            Whole(0, 10_000),
            "waiting",
            "So many jobs may wait for one key; one more fails, to be tried again later.",
            "More are seldom done before their locks end.",
        ),
        Field(
            "state",
            size("0B", "1MiB"),
            "state_bytes_max",
            "The state that a worker may keep for a key, in bytes. It is on the node's disk, and "
            "on another's where more work on the service, before the job's outcome leaves.",
            "State is for what a job needs of the one before; large data belongs elsewhere.",
        ),
    ),
    check=_check_key,
)


def check_profile(spec: ServiceSpec) -> Iterable[tuple[str, str]]:
    """What is wrong between `profile`, `dense` and the topics, as (field, sentence) pairs."""
    if spec.dense is None:
        return
    if spec.profile != "dense":
        yield "dense", "only instances of `profile: dense` live on; write that, or leave this out"
    _, first, *rest = (spec.dense.key or "/job/").split("/")
    for topic in spec.topics:
        if first == "variables" and topic.variables is not None and rest[0] not in topic.variables:
            yield "topics", f"{topic.name} does not fetch {rest[0]}, the key of `dense`; add it"
