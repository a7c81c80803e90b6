// Leases as a table: what moves is marked where it is now, with where it came from.

import { Part, h, hue, keyed, number, plural, say, set, short, span, table } from "./dom.js";
import { follow, nodeName, store } from "./live.js";

const ROWS_MAX = 100;

const URGENT = { orphaned: 0, waiting: 1, abandoned: 2, inherited: 3 };

class Leases extends Part {
  begin() {
    this.table = table("Leases", ["Topic", "Job", "State", "Holder", "Claimer", "Progress", "Age"]);
    this.empty = h("p", { class: "empty" });
    this.append(this.table.element, this.empty);
    follow(this, "leases", "nodes");
    setInterval(() => this.redraw(), 1000);
  }

  draw() {
    const rank = (one) => URGENT[one.state] ?? (one.moved_from ? 4 : 5);
    const leases = [...store.leases.values()].sort((one, other) => rank(one) - rank(other) || other.since_ms - one.since_ms || one.id.localeCompare(other.id));
    const beyond = leases.length - ROWS_MAX + store.beyond.leases;
    this.table.element.hidden = !leases.length;
    this.empty.hidden = leases.length > 0 && beyond <= 0;
    say(this.empty, leases.length ? `… and ${plural(beyond, "more lease")}; /v1/leases has all of them.` : "No job is on its way. Those that take less than a second are counted above, and seldom seen here.");
    keyed(this.table.body, leases.slice(0, ROWS_MAX), (one) => one.id, () => this.#row(), (row, one) => this.#update(row, one));
  }

  #row() {
    const row = this.table.row();
    row.children[0].append(h("span", { class: "swatch" }), h("span"));
    row.children[2].append(h("span", { class: "badge" }));
    row.children[3].append(h("span"), h("small"));
    row.children[5].append(h("progress", { max: 1000 }), h("small"));
    return row;
  }

  #update(row, one) {
    const [topic, job, state, holder, claimer, progress, age] = row.children;
    set(row, "data-state", one.state);
    set(row, "data-moved", one.moved_from ? "yes" : null);
    topic.firstChild.style.background = hue(one.engine);
    say(topic.lastChild, one.topic);
    topic.title = one.engine;
    say(job, short(one.job));
    job.title = `${one.job}, epoch ${one.epoch}`;
    set(state.firstChild, "class", `badge ${one.state}`);
    say(state.firstChild, one.state);
    say(holder.firstChild, nodeName(one.holder) ?? "nobody");
    say(holder.lastChild, one.moved_from ? ` from ${nodeName(one.moved_from)}` : "");
    say(claimer, nodeName(one.claimer));
    const done = one.done_thousandths;
    progress.firstChild.hidden = done === null;
    if (done !== null) progress.firstChild.value = done;
    set(progress.firstChild, "aria-label", done === null ? null : `${number(Math.round(done / 10))} % done`);
    say(progress.lastChild, one.doing ?? (done === null ? "unknown" : ""));
    say(age, span(Date.now() - one.since_ms));
  }
}

customElements.define("gs-leases", Leases);
