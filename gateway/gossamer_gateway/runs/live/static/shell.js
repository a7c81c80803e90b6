// The page that hosts the components: which view is shown, whether it is connected, who is there.

import { Refused, ask, doors, setKey, keyOf, storeOf } from "/live/gossamer-live.js";

const base = location.origin;
const store = storeOf(base);
const STATES = { connecting: "connecting…", live: "live", away: "connection lost, trying again…", closed: "a key is wanted" };

const link = document.getElementById("link");
const runs = document.getElementById("runs");
const run = document.getElementById("run");

function state() {
  link.dataset.state = store.state;
  const text = link.lastElementChild;
  if (text.textContent !== STATES[store.state]) text.textContent = STATES[store.state];
  link.title = store.detail;
  document.getElementById("out").hidden = !keyOf(base);
}
store.addEventListener("state", state);
state();

/** `#/` is all runs, `#/run/ID` one of them. */
function view(moved) {
  const [, place, id] = location.hash.split("/");
  const one = place === "run" && id ? decode(id) : null;
  runs.hidden = one !== null;
  run.hidden = one === null;
  document.querySelector("nav [data-view]").toggleAttribute("aria-current", one === null);
  run.querySelectorAll("gossamer-run, gossamer-live-tail").forEach((element) => {
    if (element.getAttribute("run") !== one) element.remove();
  });
  if (one !== null && !run.querySelector("gossamer-run")) {
    const element = document.createElement("gossamer-run");
    element.setAttribute("run", one);
    run.append(element);
  }
  document.title = one === null ? "Workflows · Gossamer" : `Run ${one.slice(-8)} · Gossamer`;
  if (moved) {
    document.getElementById("main").focus({ preventScroll: true });
    scrollTo({ top: 0, behavior: "instant" });
  }
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
addEventListener("hashchange", () => view(true));
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
    document.querySelectorAll("gossamer-runs, gossamer-trigger").forEach((element) => element.refresh());
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
