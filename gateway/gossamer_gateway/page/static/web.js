// The mesh as a web: engines in the middle, nodes around them, and each lease a dot that goes to the
// node that holds it. A drawing for the eye; the list of nodes and the table of leases say the same.

import { Part, h, hue, keyed, s, say, set } from "./dom.js";
import { follow, present, store } from "./live.js";

const NODES_MAX = 24;
const DOTS_MAX = 400;
const SLOTS_DRAWN = 24;

class Web extends Part {
  begin() {
    this.threads = s("g", { class: "threads" });
    this.claims = s("g", { class: "claims" });
    this.engines = s("g");
    this.nodes = s("g");
    this.dots = s("g");
    this.svg = s("svg", { role: "img", "aria-label": "The mesh" }, this.threads, this.claims, this.engines, this.nodes, this.dots);
    this.many = h("p", { class: "empty" });
    this.legend = h("ul", { class: "legend" });
    this.append(this.svg, this.many, this.legend);
    this.places = new Map();
    new ResizeObserver(() => this.redraw()).observe(this);
    follow(this, "nodes", "leases", "engines");
  }

  draw() {
    const nodes = [...store.nodes.values()]
      .filter((one) => one.role !== "gateway" && one.state !== "left")
      .sort((one, other) => one.name.localeCompare(other.name, "en", { numeric: true }));
    const few = nodes.length <= NODES_MAX;
    this.svg.toggleAttribute("hidden", !few);
    this.many.hidden = few && nodes.length > 0;
    const here = store.nodes.get(store.gateway)?.address ?? "HOST:PORT";
    say(this.many, few ? `No node is in the mesh yet. One that has its key joins with: gossamer node --join ${here}` : `More than ${NODES_MAX} nodes are not drawn; they are listed below.`);
    if (!few) return;
    const width = Math.max(300, Math.min(900, this.clientWidth - 2));
    const height = Math.max(400, Math.min(470, width * 0.62));
    this.engineWidth = width < 520 ? 78 : 112;
    set(this.svg, "viewBox", `0 0 ${width} ${height}`);
    set(this.svg, "aria-label", `The mesh: ${nodes.length} nodes, ${store.leases.size} leases`);
    const engines = this.#enginesToDraw();
    this.places.clear();
    engines.forEach((one, at) => this.places.set(`engine ${one}`, [width / 2, height / 2 + (at - (engines.length - 1) / 2) * 58]));
    const radius = [width / 2 - 66, height / 2 - 62];
    nodes.forEach((one, at) => {
      const angle = (2 * Math.PI * at) / nodes.length - Math.PI / 2 + (nodes.length === 2 ? Math.PI / 2 : 0);
      const [x, y] = [width / 2 + radius[0] * Math.cos(angle), height / 2 - 8 + radius[1] * Math.sin(angle)];
      this.places.set(one.id, [x, y]);
    });
    this.#drawThreads(nodes);
    this.#drawClaims(nodes);
    this.#drawEngines(engines);
    this.#drawNodes(nodes);
    this.#drawDots();
    keyed(this.legend, engines, (one) => one, (one) => {
      const dot = h("span", { class: "swatch" });
      dot.style.background = hue(one);
      return h("li", {}, dot, `lease of ${one}`);
    }, () => {});
  }

  #enginesToDraw() {
    const names = new Set(store.engines.keys());
    for (const one of store.leases.values()) names.add(one.engine);
    return [...names].slice(0, 4);
  }

  #drawThreads(nodes) {
    const pairs = [];
    const there = nodes.filter(present);
    there.forEach((one, at) => {
      for (const step of there.length <= 10 ? [1, 2, 3, 4, 5] : [1, 2]) {
        const other = there[(at + step) % there.length];
        if (step <= there.length / 2 && other !== one) pairs.push([one.id, other.id]);
      }
    });
    keyed(
      this.threads, [...new Map(pairs.map((pair) => [[...pair].sort().join(" "), pair]))],
      ([id]) => id,
      () => s("path"),
      (path, [, [from, to]]) => {
        const [[x1, y1], [x2, y2]] = [this.places.get(from), this.places.get(to)];
        const box = this.svg.viewBox.baseVal;
        const [cx, cy] = [(x1 + x2) / 2 + (box.width / 2 - (x1 + x2) / 2) * 0.22, (y1 + y2) / 2 + (box.height / 2 - (y1 + y2) / 2) * 0.22];
        set(path, "d", `M${x1} ${y1}Q${cx} ${cy} ${x2} ${y2}`);
      },
    );
  }

  #drawClaims(nodes) {
    const claims = nodes
      .filter(present)
      .flatMap((node) => node.claims.map((group) => ({ group, node, engine: group.slice(0, group.lastIndexOf("/")) })))
      .filter((one) => this.places.has(`engine ${one.engine}`));
    keyed(
      this.claims, claims, (one) => `${one.group} ${one.node.id}`,
      (one) => s("path", {}, s("title", {}, `${one.node.name} claims from ${one.engine}`)),
      (path, one) => {
        const [[x1, y1], [x2, y2]] = [this.places.get(`engine ${one.engine}`), this.places.get(one.node.id)];
        set(path, "d", `M${x1} ${y1}L${x2} ${y2}`);
        path.style.stroke = hue(one.engine);
      },
    );
  }

  #drawEngines(engines) {
    keyed(
      this.engines, engines, (one) => one,
      (one) => s("g", { class: "engine" }, s("rect", { y: -20, height: 40, rx: 12 }), s("text", { y: -1 }, one.length > 12 ? `${one.slice(0, 11)}…` : one), s("text", { y: 12, class: "small" })),
      (group, one) => {
        const [x, y] = this.places.get(`engine ${one}`);
        group.style.transform = `translate(${x}px, ${y}px)`;
        group.firstChild.style.stroke = hue(one);
        set(group.firstChild, "x", -this.engineWidth / 2);
        set(group.firstChild, "width", this.engineWidth);
        const known = store.engines.get(one);
        set(group, "data-answers", known?.answers ?? null);
        say(group.lastChild, !known ? "elsewhere" : known.answers === false ? "no answer" : (known.version ?? known.kind));
      },
    );
  }

  #drawNodes(nodes) {
    keyed(
      this.nodes, nodes, (one) => one.id,
      () => s("g", { class: "node" }, s("circle", { class: "back", r: 27 }), s("g", { class: "slots" }), s("text", { y: 4, class: "count" }), s("text", { y: 48 }), s("text", { y: 61, class: "small" })),
      (group, one) => {
        const [x, y] = this.places.get(one.id);
        group.style.transform = `translate(${x}px, ${y}px)`;
        set(group, "data-state", one.state);
        const [, slots, count, name, below] = group.children;
        say(name, one.name.length > 16 ? `${one.name.slice(0, 15)}…` : one.name);
        say(count, present(one) ? (one.running ?? "?") : "✕");
        say(below, one.state !== "alive" ? one.state : one.claims.length ? "claims" : "");
        drawSlots(slots, one);
      },
    );
  }

  #drawDots() {
    const leases = [...store.leases.values()].slice(0, DOTS_MAX);
    const around = new Map();
    const wanted = new Set();
    for (const one of leases) {
      const running = one.holder && one.state !== "waiting" && one.state !== "orphaned";
      const holder = running && this.places.has(one.holder) ? one.holder : null;
      const home = `engine ${one.engine}`;
      const place = holder ?? (this.places.has(home) ? home : null);
      if (!place) continue;
      wanted.add(one.id);
      const at = around.get(place) ?? 0;
      around.set(place, at + 1);
      const [x, y] = this.#orbit(place, at);
      let dot = this.dots.keyed?.get(one.id);
      if (!dot) {
        dot = s("circle", { class: "lease", r: 5 }, s("title"));
        const [ex, ey] = this.places.get(home) ?? [x, y];
        dot.style.transform = `translate(${ex}px, ${ey}px)`;
        (this.dots.keyed ??= new Map()).set(one.id, dot);
        this.dots.append(dot);
        dot.getBoundingClientRect(); // so that it is there before it moves
      }
      dot.style.fill = hue(one.engine);
      dot.style.transform = `translate(${x}px, ${y}px)`;
      set(dot, "data-state", one.state);
      set(dot, "data-moved", one.moved_from ? "yes" : null);
      say(dot.firstChild, `${one.topic} ${one.job}: ${one.state}`);
    }
    for (const [id, dot] of this.dots.keyed ?? []) {
      if (wanted.has(id)) continue;
      this.dots.keyed.delete(id);
      dot.classList.add("over");
      setTimeout(() => dot.remove(), 700);
    }
  }

  #orbit(place, at) {
    const [x, y] = this.places.get(place);
    if (place.startsWith("engine ")) return [x - this.engineWidth / 2 + 6 + (at % 8) * 10, y + 30 + 11 * Math.floor(at / 8)];
    const ring = Math.floor(at / 18);
    const angle = ((at % 18) / 18) * 2 * Math.PI - Math.PI / 2;
    const radius = 36 + ring * 11;
    return [x + radius * Math.cos(angle), y + radius * Math.sin(angle)];
  }
}

/** The ring of a node's slots, those filled that are at work. */
function drawSlots(group, node) {
  const slots = present(node) ? Math.min(node.slots ?? 0, SLOTS_DRAWN) : 0;
  const busy = node.slots ? Math.round(((node.running ?? 0) / node.slots) * slots) : 0;
  keyed(
    group, Array.from({ length: slots }, (_, at) => at), (at) => `${at}/${slots}`,
    (at) => {
      const gap = slots > 1 ? 0.05 : 0;
      const [from, to] = [(at / slots) * 2 * Math.PI + gap - Math.PI / 2, ((at + 1) / slots) * 2 * Math.PI - gap - Math.PI / 2];
      const point = (angle) => `${22 * Math.cos(angle)} ${22 * Math.sin(angle)}`;
      return s("path", { d: `M${point(from)}A22 22 0 ${to - from > Math.PI ? 1 : 0} 1 ${point(to)}` });
    },
    (path, at) => set(path, "class", at < busy ? "busy" : null),
  );
}

customElements.define("gs-web", Web);
