// A value that a run was given or gave: as JSON, cut where it is long, with a way to see the whole of it. What the
// gateway left out of its events, since it is large, is asked for when somebody wants to see it.

import { cut, json, sized } from "./forms.js";
import { h, say } from "./part.js";

const CHARACTERS_MAX = 20000;

/**
 * `{element, show(value, load)}`; with `load`, which promises the value, it was left out of the events.
 */
export function payload(heading, label) {
  const text = h("pre", { tabindex: "0", role: "group", "aria-label": label, dir: "ltr" });
  const more = h("button", { type: "button", class: "word more-of-it" });
  const element = h("div", { class: "payload" }, h("h3", {}, heading), text, more);
  let known;
  let begun = false;

  const all = (value) => {
    say(text, json(value, 2));
    more.hidden = true;
    text.focus();
  };
  const show = (value, load = null) => {
    if (begun && known === value) return; // also of one that was loaded or unfolded since
    begun = true;
    known = value;
    if (load) {
      say(text, "It is larger than what comes with events.");
      say(more, "Show it");
      more.hidden = false;
      more.onclick = async () => {
        more.disabled = true;
        try {
          all(await load());
        } catch (refused) {
          say(text, `It cannot be had: ${refused.message}`);
        } finally {
          more.disabled = false;
        }
      };
      return;
    }
    const whole = json(value ?? null, 2);
    say(text, cut(whole, CHARACTERS_MAX));
    more.hidden = whole.length <= CHARACTERS_MAX;
    say(more, `Show all ${sized(new Blob([whole]).size)}`);
    more.onclick = () => all(value);
  };
  return { element, show };
}
