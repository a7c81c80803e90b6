"""How the providers are, as this gateway's own calls went: by provider and region. No I/O.

Counts are since the gateway started, times of the newest `TIMES_MAX` calls, and both are bounded
however many regions and codes a definition may name. The shapes are what `/v1/workflow/providers`
answers.
"""

from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from typing import Literal

from gossamer_gateway.observing.tally import Times
from gossamer_gateway.runs.model.events import Failure
from gossamer_gateway.runs.providers.circuit import Circuit

TIMES_MAX = 512
CODES_MAX = 50
REGIONS_MAX = 200
"""Of all providers together; the one that was asked longest ago is forgotten."""

OTHER = "other"
"""Codes beyond `CODES_MAX`: functions have codes of their own."""


@dataclass(frozen=True, slots=True)
class LastError:
    """The newest failure. `at_ms`: since 1970."""

    code: str
    message: str
    blame: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class RegionHealth:
    """A region of a provider.

    Attributes:
        region: empty where none is named.
        circuit: `open`: calls are refused, for `open_ms` more; `half-open`: one may try.
        calls: that ended; `failed`: by the provider's fault, `errors`: by the function's own.
        refused: by the open circuit, not made.
        at_work: calls now.
        p50_ms, p99_ms: of the newest calls; null: there was none.
        failures: by code, both kinds.
        failed_in_row: of the newest calls, how many failed by the provider's fault and none between
            came through. A circuit stays closed for the first of them.
        answered_at_ms: when a call last came through, with a result or an error of the function's;
            null: none has.
    """

    region: str
    circuit: Literal["closed", "open", "half-open"]
    open_ms: int
    calls: int
    failed: int
    errors: int
    refused: int
    at_work: int
    p50_ms: float | None
    p99_ms: float | None
    failures: dict[str, int]
    last_error: LastError | None
    failed_in_row: int
    answered_at_ms: int | None


@dataclass(frozen=True, slots=True)
class ProviderHealth:
    """A provider.

    Attributes:
        kind: `aws`, `gcp`, `azure`; null: it is not configured, and workflows named it.
        configured: whether it can be called at all.
        concurrency: how many calls at a time; 0 where it is not configured.
        at_work: calls now.
        regions: those that were called since the gateway started.
    """

    name: str
    kind: Literal["aws", "gcp", "azure"] | None
    configured: bool
    concurrency: int
    at_work: int
    regions: list[RegionHealth]


@dataclass
class Tally:
    """What is known of a provider's region."""

    circuit: Circuit = field(default_factory=Circuit)
    calls: int = 0
    failed: int = 0
    errors: int = 0
    refused: int = 0
    at_work: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    last_error: LastError | None = None
    failed_in_row: int = 0
    answered_at_ms: int | None = None
    times: Times = field(default_factory=Times)
    newest_ms: deque[float] = field(default_factory=lambda: deque(maxlen=TIMES_MAX))

    def note(self, failure: Failure | None, took_s: float, now_ms: int) -> None:
        """A call ended; None: well."""
        self.calls += 1
        self.times.note(round(took_s * 1e9))
        self.newest_ms.append(took_s * 1_000)
        if failure is not None and failure.blame == "provider":
            self.failed_in_row += 1
        else:
            self.failed_in_row, self.answered_at_ms = 0, now_ms
        if failure is not None:
            self.note_failure(failure, now_ms)
            self.failed += failure.blame == "provider"
            self.errors += failure.blame != "provider"

    def note_failure(self, failure: Failure, now_ms: int) -> None:
        known = failure.code in self.failures or len(self.failures) < CODES_MAX
        self.failures[failure.code if known else OTHER] += 1
        message = failure.message[:500]
        self.last_error = LastError(failure.code, message, failure.blame, now_ms)

    def shown(self, region: str, now_ms: int) -> RegionHealth:
        newest = sorted(self.newest_ms)
        return RegionHealth(
            region=region,
            circuit=self.circuit.state.value,
            open_ms=self.circuit.wait_ms(now_ms),
            calls=self.calls,
            failed=self.failed,
            errors=self.errors,
            refused=self.refused,
            at_work=self.at_work,
            p50_ms=_part(newest, 0.5),
            p99_ms=_part(newest, 0.99),
            failures=dict(sorted(self.failures.items())),
            last_error=self.last_error,
            failed_in_row=self.failed_in_row,
            answered_at_ms=self.answered_at_ms,
        )


class Tallies:
    """By provider and region."""

    def __init__(self) -> None:
        self._all: OrderedDict[tuple[str, str], Tally] = OrderedDict()

    def of(self, provider: str, region: str) -> Tally:
        """Made where there is none."""
        key = (provider, region)
        if key not in self._all:
            self._all[key] = Tally()
            idle = next((one for one, of in self._all.items() if not of.at_work), None)
            if len(self._all) > REGIONS_MAX and idle is not None and idle != key:
                del self._all[idle]
        self._all.move_to_end(key)
        return self._all[key]

    def all(self) -> list[tuple[tuple[str, str], Tally]]:
        return sorted(self._all.items(), key=lambda one: one[0])


def _part(times: list[float], share: float) -> float | None:
    if not times:
        return None
    return round(times[min(len(times) - 1, int(share * len(times)))], 3)
