// What is around everything: the connection's state, the summary, what happened, notices, the door.

import { ask, doors, key, setKey } from "./api.js";
import { Part, ago, h, keyed, number, plural, say, set } from "./dom.js";
import { follow, nodeName, perSecond, present, store } from "./live.js";
import { watched } from "./asked.js";

const STATES = { connecting: "connecting…", live: "live", away: "connection lost, trying again…" };

class Status extends Part {
  begin() {
    this.dot = h("span", { class: "dot", "aria-hidden": "true" });
    this.text = h("span", { role: "status" });
    this.who = h("span", { class: "who" });
    this.out = h("button", { type: "button", class: "plain", onclick: () => this.leave() }, "Sign out");
    this.append(this.who, h("span", { class: "state" }, this.dot, this.text), this.out);
    follow(this, "state");
  }

  leave() {
    setKey(null);
    location.reload();
  }

  draw() {
    set(this, "data-state", store.state);
    say(this.text, STATES[store.state]);
    say(this.who, store.name);
    this.out.hidden = !key();
    document.title = store.name ? `${store.name} · Gossamer` : "Gossamer";
  }
}

class Summary extends Part {
  begin() {
    this.list = h("dl", { class: "summary" });
    this.append(this.list);
    follow(this, "nodes", "leases", "engines", "state");
    watched.addEventListener("incidents", () => this.redraw());
    setInterval(() => this.redraw(), 1000);
  }

  draw() {
    const nodes = [...store.nodes.values()].filter((one) => one.role !== "gateway");
    const there = nodes.filter(present);
    const suspects = there.filter((one) => one.state === "suspect").length;
    const dead = nodes.filter((one) => one.state === "dead").length;
    const slots = there.reduce((sum, one) => sum + (one.slots ?? 0), 0);
    const leases = [...store.leases.values()];
    const held = leases.filter((one) => one.holder && one.state !== "orphaned").length;
    const engines = [...store.engines.values()];
    const silent = engines.filter((one) => one.answers === false).length;
    const jobs = perSecond();
    const incidents = watched.incidents;
    const more = incidents?.more || Object.keys(incidents?.unknown ?? {}).length ? "+" : "";
    const items = [
      ["Nodes", number(there.length), suspects ? `${plural(suspects, "suspect")}` : dead ? `${dead} died` : `${number(slots)} slots`, suspects || dead ? "warn" : ""],
      ["Leases", number(leases.length + store.beyond.leases), `${number(held)} at work`, leases.some((one) => one.state === "orphaned") ? "warn" : ""],
      ["Jobs per second", jobs === null ? "…" : jobs.toFixed(jobs < 10 ? 1 : 0), "settled, of late", ""],
      ["Engines", number(engines.length), silent ? `${plural(silent, "does", "do")} not answer` : "all answer", silent ? "bad" : ""],
      ["Incidents", incidents ? number(incidents.items.length) + more : "unknown", incidents ? (more ? "that are known" : "open") : "not asked yet", incidents?.items.length ? "bad" : ""],
    ];
    keyed(
      this.list, items, (one) => one[0],
      ([name]) => h("div", {}, h("dt", {}, name), h("dd", {}, h("strong"), h("small"))),
      (element, [, value, hint, kind]) => {
        say(element.querySelector("strong"), value);
        say(element.querySelector("small"), hint);
        set(element, "class", kind || null);
      },
    );
  }
}

const TEXTS = {
  "node.joined": (e) => ["joined", e.data.name, ""],
  "node.suspected": (e) => ["suspected", e.data.name, "does not answer"],
  "node.cleared": (e) => ["cleared", e.data.name, "answers again"],
  "node.died": (e) => ["died", e.data.name, ""],
  "node.left": (e) => ["left", e.data.name, "said goodbye"],
  "lease.granted": (e) => ["granted", nodeName(e.data.holder), e.data.topic],
  "lease.moved": (e) => ["moved", `${nodeName(e.data.moved_from)} → ${nodeName(e.data.holder)}`, e.data.topic],
  "lease.waiting": (e) => ["waiting", "nobody", e.data.topic],
  "lease.inherited": (e) => ["inherited", `claimed by ${nodeName(e.data.claimer)}`, e.data.topic],
  "lease.orphaned": (e) => ["orphaned", "claimer gone", e.data.topic],
  "lease.ended": (e) => ["ended", e.before ? (nodeName(e.before.holder) ?? "nobody") : "", e.before?.topic ?? ""],
  "incident.resolved": (e) => ["retried", e.data.engine, "incident"],
  "route.changed": (e) => ["route", e.subject, ""],
};

class Feed extends Part {
  begin() {
    this.list = h("ol", { class: "feed" });
    this.empty = h("p", { class: "empty" }, "What happens is written here.");
    this.append(h("h3", {}, "As it happens"), this.list, this.empty);
    follow(this, "feed");
    setInterval(() => this.redraw(), 5000);
  }

  draw() {
    const shown = store.feed.slice(0, 40);
    this.empty.hidden = shown.length > 0;
    this.list.hidden = !shown.length;
    keyed(
      this.list, shown, (one) => one.number,
      (one) => {
        const [what, who, about] = TEXTS[one.kind]?.(one) ?? [one.kind, one.subject, ""];
        return h(
          "li", {},
          h("span", { class: `what ${what}` }, what),
          h("span", { class: "about" }, who, about ? h("small", {}, about) : null),
          h("time"),
        );
      },
      (element, one) => say(element.querySelector("time"), ago(one.at_ms)),
    );
  }
}

class Notices extends HTMLElement {
  connectedCallback() {
    addEventListener("gossamer-notice", (event) => {
      const { text, kind } = event.detail;
      const one = h("p", { class: `notice ${kind}` }, text);
      this.append(one);
      setTimeout(() => one.remove(), kind === "bad" ? 12000 : 5000);
      while (this.children.length > 4) this.firstChild.remove();
    });
  }
}

/** Says something to the person, for some seconds. */
export function notice(text, kind = "good") {
  dispatchEvent(new CustomEvent("gossamer-notice", { detail: { text, kind } }));
}

class SignIn extends HTMLElement {
  connectedCallback() {
    this.input = h("input", { type: "password", id: "key", autocomplete: "off", spellcheck: "false", required: true });
    this.wrong = h("p", { class: "wrong", role: "alert" });
    const form = h(
      "form", { onsubmit: (event) => this.enter(event) },
      h("h2", {}, "Who is there?"),
      h("p", {}, "This gateway wants an API key. It stays in this tab and is forgotten when you close it."),
      h("label", { for: "key" }, "API key"),
      this.input,
      this.wrong,
      h("button", { type: "submit" }, "Sign in"),
    );
    this.dialog = h("dialog", { "aria-label": "Sign in" }, form);
    this.append(this.dialog);
    doors.addEventListener("closed", () => {
      if (!this.dialog.open && !this.trying) this.dialog.showModal();
    });
  }

  async enter(event) {
    event.preventDefault();
    this.trying = true;
    setKey(this.input.value.trim());
    try {
      await ask("/v1/nodes?limit=1");
      this.input.value = "";
      this.wrong.textContent = "";
      this.dialog.close();
      dispatchEvent(new Event("gossamer-key"));
    } catch (refused) {
      setKey(null);
      this.wrong.textContent = refused.message;
      this.input.select();
    } finally {
      this.trying = false;
    }
  }
}

customElements.define("gs-status", Status);
customElements.define("gs-summary", Summary);
customElements.define("gs-feed", Feed);
customElements.define("gs-notices", Notices);
customElements.define("gs-sign-in", SignIn);
