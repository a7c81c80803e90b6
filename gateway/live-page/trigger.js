// <gossamer-trigger>: starts runs. The input is checked before it is sent; the run is shown at once, and then confirmed
// by its event or taken back with the gateway's reason. A repetition of a request never starts a second run.
//
//   <gossamer-trigger gateway workflow="order" input='{"amount": 1}' run-href="#/run/{run}">

import { define, h, keyed, Part, say, set } from "./part.js";

const SENT_MAX = 5;
const INPUT_MAX = 1024 * 1024;

const LOOKS = `
form { display: grid; gap: 10px; }
label { display: grid; gap: 4px; font-size: 13.5px; color: var(--soft); }
textarea { min-height: 92px; color: var(--ink); }
.wrong { color: var(--bad); font-size: 13.5px; min-height: 0; }
.do { display: flex; flex-wrap: wrap; gap: 8px 14px; align-items: center; }
.sent { margin-top: 12px; border-top: 1px solid var(--line); font-size: 14px; }
.sent:empty { display: none; }
.sent li { display: grid; grid-template-columns: auto minmax(0, 1fr) auto; gap: 4px 12px; align-items: baseline; padding: 7px 0; border-bottom: 1px solid color-mix(in srgb, var(--line) 60%, transparent); animation: appear 0.25s; }
.sent p { grid-column: 1 / -1; color: var(--soft); font-size: 13.5px; }
.sent p.bad { color: var(--bad); }
.sent .of { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.none { display: grid; gap: 10px; color: var(--soft); }
.none pre { margin: 0; padding: 10px 12px; white-space: pre-wrap; border-radius: 10px; background: var(--paper); border: 1px solid var(--line); color: var(--ink); }
.sent button { min-height: 0; padding: 1px 10px; font-size: 13px; }
`;

const STATES = {
  sending: ["busy", "sending"], unsure: ["warn", "asking again"], accepted: ["busy", "accepted"],
  started: ["good", "started"], refused: ["bad", "taken back"],
};

class Trigger extends Part {
  static observedAttributes = ["gateway", "workflow"];
  #sent = [];
  #workflows = null; // not known yet

  need() {
    return { workflow: this.getAttribute("workflow") };
  }

  make() {
    this.select = h("select", { id: "workflow", required: true });
    this.choose = h("label", {}, "Workflow", this.select);
    this.heading = h("h2");
    this.input = h("textarea", { id: "input", spellcheck: "false", rows: "4", "aria-describedby": "wrong", oninput: () => this.check(), onkeydown: (event) => this.key(event) });
    this.wrong = h("p", { class: "wrong", id: "wrong", role: "status" });
    this.send = h("button", { type: "submit" }, "Start run");
    this.form = h("form", { novalidate: true, onsubmit: (event) => this.submit(event) }, this.choose, h("label", {}, "Input, as JSON", this.input), this.wrong, h("div", { class: "do" }, this.send, h("small", {}, "Ctrl + Enter")));
    this.example = h("pre", { tabindex: "0", role: "group", "aria-label": "A command that defines a workflow" });
    this.none = h("div", { class: "none", hidden: true }, h("p", {}, "No workflow is defined yet. One is defined so:"), this.example);
    this.sent = h("ul", { class: "sent", "aria-label": "Started from here", "aria-live": "polite" });
    this.root.append(
      h(
        "section", { class: "card", "aria-label": "Start a run" },
        h("header", {}, this.heading),
        this.form, this.none, this.sent,
      ),
    );
    this.input.value = this.getAttribute("input") ?? "{}";
  }

  started() {
    this.hear(this.store, "trigger", (event) => {
      if (this.#sent.includes(event.detail)) this.redraw();
      if (event.detail.status === "started" && this.#sent.includes(event.detail)) {
        this.dispatchEvent(new CustomEvent("gossamer-started", { detail: event.detail.run, bubbles: true, composed: true }));
      }
    });
    this.hear(this.store, "state", () => {
      if (this.store.state === "live" && !this.#workflows?.length) this.list();
    });
    // One that is defined while this page is open shows itself by its first run.
    this.hear(this.store, "change", () => {
      if (this.#workflows && !this.#workflows.length && this.store.runs.size) this.list();
    });
    this.list();
  }

  /** Asks for all anew, as when somebody has signed in. */
  refresh() {
    this.list();
  }

  async list() {
    if (this.hasAttribute("workflow")) return;
    try {
      this.#workflows = await this.store.workflows();
    } catch (refused) {
      if (refused.status === 403) say(this.wrong, refused.message);
      return; // it is asked for again once it is connected
    }
    const before = this.select.value;
    this.select.replaceChildren(...this.#workflows.map((one) => h("option", { value: one.id }, one.name ? `${one.name} (${one.id})` : one.id)));
    if (before) this.select.value = before;
    this.redraw();
  }

  get workflow() {
    return this.getAttribute("workflow") ?? this.select.value;
  }

  /** The input, or why it is none. */
  read() {
    const text = this.input.value.trim();
    if (!text) return { value: null };
    if (new TextEncoder().encode(text).length > INPUT_MAX) return { wrong: "The input is larger than 1 MiB." };
    try {
      return { value: JSON.parse(text) };
    } catch (error) {
      return { wrong: `This is no JSON: ${place(this.input.value, error.message)}` };
    }
  }

  check() {
    const { wrong } = this.read();
    say(this.wrong, wrong ?? "");
    set(this.input, "aria-invalid", wrong ? "true" : null);
    return !wrong;
  }

  key(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.submit(event);
  }

  submit(event) {
    event.preventDefault();
    if (!this.workflow) return;
    if (!this.check()) {
      this.input.focus();
      return;
    }
    this.#sent.unshift(this.store.trigger(this.workflow, this.read().value));
    this.#sent.length = Math.min(this.#sent.length, SENT_MAX);
    this.redraw();
  }

  again(one) {
    this.input.value = JSON.stringify(one.input, null, 2);
    if (!this.hasAttribute("workflow")) this.select.value = one.workflow;
    this.#sent = this.#sent.filter((other) => other !== one);
    this.check();
    this.input.focus();
    this.redraw();
  }

  draw() {
    const fixed = this.getAttribute("workflow");
    say(this.heading, fixed ? `Start ${fixed}` : "Start a run");
    this.choose.hidden = Boolean(fixed);
    this.none.hidden = Boolean(fixed) || this.#workflows?.length !== 0;
    this.send.disabled = !this.workflow;
    this.form.hidden = !this.none.hidden;
    say(this.example, `curl ${this.store.base}/workflow/ \\\n  -H 'Content-Type: application/json' \\\n  -d '{"id": "hello", "steps": [{"action": "greet"}]}'`);
    keyed(
      this.sent, this.#sent, (one) => one.key,
      (one) => {
        const row = h("li", {}, h("span", { class: "badge" }), h("span", { class: "of", dir: "auto", title: one.workflow }, one.workflow), h("span"), h("p", { hidden: true }));
        return row;
      },
      (row, one) => {
        const [badge, , link, why] = row.children;
        const [colour, word] = STATES[one.status];
        set(badge, "class", `badge ${colour}`);
        say(badge, word);
        if (one.status === "refused" && !row.back) {
          row.back = h("button", { type: "button", class: "plain", onclick: () => this.again(one) }, "Edit");
          link.replaceChildren(row.back);
        } else if (one.run && row.run !== one.run) {
          row.run = one.run;
          link.replaceChildren(this.runLink(one.run));
        }
        why.hidden = !one.detail || one.status === "started" || one.status === "accepted";
        say(why, one.detail);
        set(why, "class", one.status === "refused" ? "bad" : null);
      },
    );
  }
}

/** Where JSON goes wrong, as line and column; browsers say it each in its own way. */
function place(text, message) {
  const found = /position (\d+)/.exec(message);
  if (!found) return message;
  const before = text.slice(0, Number(found[1])).split("\n");
  const said = message.replace(/ in JSON at position.*$| \(line \d+ column \d+\)$/, "").replace(/ at position \d+.*$/, "");
  return `line ${before.length}, column ${before.at(-1).length + 1}: ${said}`;
}

define("gossamer-trigger", Trigger, LOOKS);
