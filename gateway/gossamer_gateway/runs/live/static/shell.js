// The page that hosts the components: which view is shown, whether it is connected, who is there.

import { Refused, ask, doors, setKey, keyOf, storeOf } from "/live/gossamer-live.js";

const base = location.origin;
const store = storeOf(base);
const STATES = { connecting: "connecting…", live: "live", away: "connection lost, trying again…", closed: "a key is wanted" };

const link = document.getElementById("link");
const away = document.getElementById("away");
const runs = document.getElementById("runs");
const run = document.getElementById("run");

// The page says once for all its components whether they are connected.
store.speaker = link;

function state() {
  link.dataset.state = store.state;
  const text = link.lastElementChild;
  const said = store.state === "live" && store.detail ? "live, as a stream" : STATES[store.state];
  if (text.textContent !== said) text.textContent = said;
  link.title = store.detail;
  away.hidden = store.awayMs === null || store.state === "closed";
  if (!away.hidden) {
    const since = new Date(store.awayMs).toLocaleTimeString("en", { hour12: false });
    const told = `Not connected since ${since}. What you see is as it was then; nothing is missed once it is back.`;
    if (away.firstElementChild.textContent !== told) away.firstElementChild.textContent = told;
  }
  document.getElementById("out").hidden = !keyOf(base);
}
store.addEventListener("state", state);
state();
away.lastElementChild.addEventListener("click", () => store.hurry());

async function name() {
  try {
    const told = await ask(base, "/v1/health");
    document.getElementById("who").textContent = told.name;
  } catch (refused) {
    if (!(refused instanceof Refused)) throw refused; // a key that may see workflows alone
  }
}
name();

/** `#/` is all runs, `#/run/ID` one of them. */
function view(moved) {
  const [, place, id] = location.hash.split("/");
  const one = place === "run" && id ? decode(id) : null;
  const before = run.querySelector("gossamer-run")?.getAttribute("run");
  runs.hidden = one !== null;
  run.hidden = one === null;
  document.querySelector("nav [data-view]").setAttribute("aria-current", one === null ? "page" : "true");
  if (one !== (before ?? null)) {
    run.querySelector("gossamer-run")?.remove();
    if (one !== null) {
      const element = document.createElement("gossamer-run");
      element.setAttribute("run", one);
      run.append(element);
    }
  }
  document.title = one === null ? "Workflows · Gossamer" : `Run ${one.slice(-8)} · Gossamer`;
  if (!moved) return;
  if (one === null && before) {
    // Back to where somebody came from.
    requestAnimationFrame(() => {
      if (runs.querySelector("gossamer-runs").focusRun(before)) return;
      document.getElementById("main").focus({ preventScroll: true });
    });
    return;
  }
  document.getElementById("main").focus({ preventScroll: true });
  scrollTo({ top: 0, behavior: "instant" });
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
addEventListener("hashchange", () => view(true));
// The address says which view is shown, so this link moves the focus alone, and leaves no run.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("main").focus();
});
view(false);

// Signing in, as on the operations page: the key is kept in this tab, and sent to this gateway alone.

const dialog = document.getElementById("door");
const input = document.getElementById("key");
const wrong = dialog.querySelector(".wrong");
let trying = false;

doors.addEventListener("closed", (event) => {
  if (event.detail === base && !dialog.open && !trying) dialog.showModal();
});

dialog.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  trying = true;
  setKey(base, input.value.trim());
  try {
    await ask(base, "/workflow/runs?limit=1");
    input.value = wrong.textContent = "";
    dialog.close();
    name();
  } catch (refused) {
    if (!(refused instanceof Refused)) throw refused;
    setKey(base, null);
    wrong.textContent = refused.message;
    input.select();
  } finally {
    trying = false;
    state();
  }
});

document.getElementById("out").addEventListener("click", () => {
  setKey(base, null);
  location.reload();
});
