/**
 * What a viewer wants to see: kept in the browser, applied in the browser, changes nothing that is recorded.
 * @module
 */

/** @typedef {import("./types.js").Detection} Detection */

export class ViewSettings extends EventTarget {
  /** Lowest score that is drawn and counted. */
  threshold = 0;

  /** @type {string[] | null} classes that are drawn; null is all */
  only = null;

  /** Whether zones and lines are drawn over pictures. */
  shapes = true;

  #key = "";

  /** @param {string} user each has their own */
  load(user) {
    this.#key = `densewatch:view:${user}`;
    Object.assign(this, { threshold: 0, only: null, shapes: true });
    try {
      const kept = JSON.parse(localStorage.getItem(this.#key) ?? "{}");
      if (kept.threshold >= 0 && kept.threshold <= 1) this.threshold = kept.threshold;
      if (Array.isArray(kept.only)) this.only = kept.only.map(String);
      if (typeof kept.shapes === "boolean") this.shapes = kept.shapes;
    } catch {
      // What was kept is not ours to read: begin anew.
    }
  }

  /** @param {Partial<Pick<ViewSettings, "threshold" | "only" | "shapes">>} change */
  set(change) {
    Object.assign(this, change);
    localStorage.setItem(
      this.#key,
      JSON.stringify({ threshold: this.threshold, only: this.only, shapes: this.shapes }),
    );
    this.dispatchEvent(new Event("change"));
  }

  /**
   * @param {Detection[]} detections
   * @returns {Detection[]} those that the viewer wants to see
   */
  apply(detections) {
    const only = this.only && new Set(this.only);
    return detections.filter((item) => item.score >= this.threshold && (!only || only.has(item.label)));
  }
}
