// Gossamer's live components, for any page: one module, nothing loaded from elsewhere.
//
//   <script type="module" src="http://gateway:8090/live/gossamer-live.js"></script>
//   <gossamer-runs gateway="http://gateway:8090"></gossamer-runs>

export { ask, doors, keyOf, Refused, setKey } from "./asking.js";
export { evolve, fold } from "./projection.js";
export { storeOf } from "./store.js";
import "./providers.js";
import "./run.js";
import "./runs.js";
import "./tail.js";
import "./trigger.js";
