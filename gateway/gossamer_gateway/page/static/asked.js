// What is not told as it happens and has to be asked for: progress, incidents, routes. While the page
// is seen, every few seconds; while nobody looks, not at all.

import { ask } from "./api.js";

const EVERY_MS = 3000;

class Watched extends EventTarget {
  progress = null;
  incidents = null;
  routes = null;
  failed = {};

  async look(what, path) {
    try {
      this[what] = await ask(path);
      delete this.failed[what];
    } catch (refused) {
      this.failed[what] = refused;
    }
    this.dispatchEvent(new Event(what));
  }

  async all() {
    await Promise.all([
      this.look("progress", "/v1/progress"),
      this.look("incidents", "/v1/incidents"),
      this.failed.routes?.status === 404 ? null : this.look("routes", "/v1/routes"),
    ]);
  }

  async run() {
    for (;;) {
      if (!document.hidden) await this.all();
      await new Promise((go) => setTimeout(go, EVERY_MS));
    }
  }
}

export const watched = new Watched();
watched.run();
addEventListener("gossamer-key", () => watched.all());
