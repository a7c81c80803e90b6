// The page's parts, each an element of its own.

import { run } from "./live.js";
import "./frame.js";
import "./web.js";
import "./nodes.js";
import "./leases.js";
import "./routes.js";
import "./processes.js";
import "./diagram.js";

run();
