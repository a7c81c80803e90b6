// How a provider's region is, in words. Pure.

/**
 * `[colour, word]`: how a region is, by the newest calls. A circuit that is closed says only that calls are made; whether
 * they come through says the newest one.
 */
export function health(configured, region) {
  if (!configured) return ["warn", "not configured"];
  if (!region) return ["", "not asked yet"];
  if (region.circuit === "open") return ["bad", region.open_ms > 0 ? `not asked for ${Math.ceil(region.open_ms / 1000)} s` : "may be tried again"];
  if (region.circuit === "half-open") return ["warn", "one call may try"];
  if (region.failed_in_row) return ["bad", region.failed_in_row === 1 ? "failed of late" : `failed ${region.failed_in_row} times in a row`];
  if (region.answered_at_ms === null) return ["", region.at_work ? "being asked" : "not asked yet"];
  return ["good", "answers"];
}
