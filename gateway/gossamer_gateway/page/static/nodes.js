// Members of the mesh, one card each; services, and where they run; engines.

import { Part, ago, h, hue, keyed, number, plural, say, set, span, table } from "./dom.js";
import { follow, nodeName, present, store } from "./live.js";

const CARDS_MAX = 200;
const CELLS_MAX = 64;

const ORDER = { suspect: 0, alive: 1, dead: 2, left: 3 };

class Nodes extends Part {
  begin() {
    this.list = h("ul", { class: "nodes" });
    this.more = h("p", { class: "empty" });
    this.append(this.list, this.more);
    follow(this, "nodes");
    setInterval(() => this.redraw(), 2000);
  }

  draw() {
    const nodes = [...store.nodes.values()].sort(
      (one, other) => ORDER[one.state] - ORDER[other.state] || (one.role === "gateway") - (other.role === "gateway") || one.name.localeCompare(other.name, "en", { numeric: true }),
    );
    keyed(this.list, nodes.slice(0, CARDS_MAX), (one) => one.id, card, update);
    this.more.hidden = nodes.length <= CARDS_MAX;
    say(this.more, `… and ${plural(nodes.length - CARDS_MAX, "more node")}; /v1/nodes has all of them.`);
  }
}

function card() {
  const gossip = h("dl", { class: "pairs" });
  return h(
    "li", { class: "card node-card" },
    h("header", {}, h("h3"), h("span", { class: "badge" })),
    h("p", { class: "line" }),
    h("div", { class: "cells", "aria-hidden": "true" }),
    h("p", { class: "chips" }),
    h("details", {}, h("summary", {}, "Gossip and counts"), gossip),
  );
}

function update(element, node) {
  const [header, line, cells, chips, details] = element.children;
  set(element, "data-state", node.state);
  set(element, "data-silent", node.silent && present(node) ? "yes" : null);
  say(header.firstChild, node.name);
  set(header.lastChild, "class", `badge ${node.state}`);
  say(header.lastChild, node.state);
  say(line, sentence(node));
  const slots = present(node) ? Math.min(node.slots ?? 0, CELLS_MAX) : 0;
  keyed(cells, Array.from({ length: slots }, (_, at) => at), (at) => at, () => h("i"), (cell, at) => set(cell, "class", at < node.running ? "busy" : null));
  const tags = present(node) ? [...node.claims.map((one) => [`claims ${one}`, one.slice(0, one.lastIndexOf("/"))]), ...node.engines.map((one) => [one.reachable ? `reaches ${one.name}` : `${one.name} does not answer it`, one.name])] : [];
  keyed(chips, tags, (one) => one[0], (one) => {
    const dot = h("span", { class: "swatch" });
    dot.style.background = hue(one[1]);
    return h("span", { class: "chip" }, dot, one[0]);
  }, () => {});
  const pairs = [
    ["Id", node.id],
    ["Address", node.address],
    ["Incarnation", String(node.incarnation)],
    ["Version", node.version ?? "unknown"],
    ["Up", node.up_ms === null ? "unknown" : span(node.up_ms)],
    ["Heard", node.role === "gateway" ? "itself" : ago(node.heard_ms)],
    ...Object.entries(node.outcomes).map(([kind, count]) => [`Jobs ${kind.replace("_", " ")}`, number(count)]),
    ...Object.entries(node.gossip).map(([name, count]) => [name.replaceAll("_", " "), number(count)]),
  ];
  keyed(details.lastChild, pairs, (one) => one[0], ([name]) => h("div", {}, h("dt", {}, name), h("dd")), (pair, [, value]) => say(pair.lastChild, value));
}

function sentence(node) {
  if (node.state === "dead") return `Did not answer any more, ${ago(node.since_ms)}`;
  if (node.state === "left") return `Said goodbye ${ago(node.since_ms)}`;
  if (node.role === "gateway") return node.id === store.gateway ? "This gateway" : "A gateway";
  if (node.slots === null) return node.silent ? "In the mesh, and tells nothing of itself" : "Not asked yet";
  const busy = `${number(node.running)} of ${plural(node.slots, "slot")} at work, ${plural(node.services, "service")}`;
  return node.silent ? `${busy}, when it last answered` : busy;
}

class Services extends Part {
  begin() {
    this.table = table("Services, and where they run", ["Service", "Topics", "Versions", "Nodes", "Instances"]);
    this.empty = h("p", { class: "empty" });
    this.append(this.table.element, this.empty);
    follow(this, "services", "nodes");
  }

  draw() {
    const services = [...store.services.values()].sort((one, other) => one.name.localeCompare(other.name));
    this.empty.hidden = services.length > 0 && !store.beyond.services;
    say(this.empty, services.length ? `… and ${plural(store.beyond.services, "more service")}; /v1/services has all of them.` : "No node of the mesh has told of a service.");
    this.table.element.hidden = !services.length;
    keyed(this.table.body, services, (one) => one.name, () => this.table.row(), (row, one) => {
      const waits = one.nodes.filter((each) => each.waits);
      const cells = row.children;
      say(cells[0], one.name);
      say(cells[1], one.topics.join(", ") || "none");
      say(cells[2], [...new Set(one.nodes.map((each) => each.version))].join(", "));
      say(cells[3], one.nodes.map((each) => nodeName(each.node)).sort().join(", ") + (waits.length ? ` (${waits.length} wait)` : ""));
      say(cells[4], number(one.nodes.reduce((sum, each) => sum + each.instances, 0)));
      cells[3].title = waits.map((each) => `${nodeName(each.node)} ${each.waits}`).join("\n");
    });
  }
}

class Engines extends Part {
  begin() {
    this.list = h("ul", { class: "engines" });
    this.append(this.list);
    follow(this, "engines", "nodes");
  }

  draw() {
    keyed(this.list, [...store.engines.values()], (one) => one.name, () => h("li", { class: "card" }, h("h3"), h("span", { class: "badge" }), h("p")), (element, one) => {
      const [title, mark, line] = element.children;
      say(title, one.name);
      element.style.setProperty("--hue", hue(one.name));
      const state = one.answers === null ? "unknown" : one.answers ? "answers" : "silent";
      set(mark, "class", `badge ${state}`);
      say(mark, state === "silent" ? `no answer for ${span(Date.now() - one.silent_since_ms)}` : state);
      const claimers = [...new Set(Object.values(one.claimers))].map(nodeName);
      say(line, [
        `${one.product ?? one.kind} ${one.version ?? ""}`.trim(),
        claimers.length ? `claimed by ${claimers.join(", ")}` : "claimed by nobody",
        `${plural(one.polls_open, "poll")} open`,
        plural(one.waiting, "client waits", "clients wait"),
      ].join(" · "));
    });
  }
}

customElements.define("gs-nodes", Nodes);
customElements.define("gs-services", Services);
customElements.define("gs-engines", Engines);
