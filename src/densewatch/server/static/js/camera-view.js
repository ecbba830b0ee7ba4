/**
 * One camera's live picture: JPEG and boxes of the same frame, zones over it, and what to say when there is none.
 * @module
 */

import { h, s } from "./dom.js";
import { drawBoxes, isSure } from "./draw.js";
import { lineShape, maskShape, zoneShape } from "./shapes.js";
import { availability, freshness, sinceText } from "./state.js";
import { countsText, tallyRow } from "./tally.js";
import { age } from "./times.js";

/** @typedef {import("./types.js").LiveMessage} LiveMessage */

const TEXT_PAUSE_MS = 250; // text that changes 25 times a second is legible to nobody
const ALTERNATIVE_PAUSE_MS = 2000;
const MAX_DENSITY = 2;

export class CameraView extends EventTarget {
  /** @type {LiveMessage | null} what is drawn now; null where it would be of another time */
  shown = null;

  /** @type {import("./state.js").Availability} */
  available;

  /** Where the picture lies within the element; CSS pixels. */
  size = { width: 0, height: 0 };

  /** The shape, such as `zone/gate`, that an editor draws instead of us. */
  hiddenShape = "";

  /** Whether masks are outlined; in the picture they are black anyhow. */
  showMasks = false;

  #drawn = "";

  /** @type {ImageBitmap | null} */
  #bitmap = null;
  /** @type {LiveMessage | null} the newest that waits for its turn; older ones are skipped */
  #waiting = null;
  #decoding = false;
  #closed = false;
  #saidAt = 0;
  #askedAt = 0;
  /** @type {LiveMessage | null} what was drawn last */
  #last = null;
  /** @type {(() => void) | null} */
  #unsubscribe = null;

  /**
   * @param {import("./types.js").App} app
   * @param {import("./types.js").Camera} camera
   * @param {{fps?: number}} [options] fps: most pictures a second to ask for
   */
  constructor(app, camera, { fps = 25 } = {}) {
    super();
    this.app = app;
    this.camera = camera;
    this.fps = fps;
    this.canvas = h("canvas", { role: "img", "aria-label": `${camera.name ?? camera.id}: no picture yet` });
    this.overlay = s("svg", { class: "overlay", "aria-hidden": "true" });
    this.veil = h("div", { class: "veil", hidden: true }, h("strong", {}, "No data"), h("span"), h("span"));
    this.badge = h("span", { class: "badge" });
    this.ageText = h("span", { class: "age", title: "Age of the picture that is shown" });
    this.tally = h("ul", { class: "tally", "aria-label": "Objects shown" });
    this.element = h("div", { class: "camera-view" }, this.canvas, this.overlay, this.veil);
    this.available = availability(undefined, "connecting", "fresh");
    this.#setRatio(camera.size ? camera.size[1] / camera.size[0] : 16 / 9);
    this.#timer = window.setInterval(() => this.#onState(), TEXT_PAUSE_MS);
    this.#resizes = new ResizeObserver(() => this.#measure());
    this.#resizes.observe(this.element);
    this.#seen = new IntersectionObserver((entries) =>
      this.#onSeen(entries[entries.length - 1].isIntersecting),
    );
    this.#seen.observe(this.element);
    app.view.addEventListener("change", this.#redraw);
    app.live.addEventListener("state", this.#onState);
    app.live.addEventListener("status", this.#onState);
    this.#refreshText();
  }

  #timer;
  #resizes;
  #seen;

  close() {
    this.#closed = true;
    clearInterval(this.#timer);
    this.#resizes.disconnect();
    this.#seen.disconnect();
    this.#unsubscribe?.();
    this.app.view.removeEventListener("change", this.#redraw);
    this.app.live.removeEventListener("state", this.#onState);
    this.app.live.removeEventListener("status", this.#onState);
    this.#bitmap?.close();
  }

  /** Draw zones and lines anew, where they or what they say changed. */
  drawShapes() {
    const counts = this.available.hasData && this.shown ? this.shown.result : null;
    const { camera, hiddenShape, showMasks, size } = this;
    const saved = [camera.zones, camera.lines, showMasks && camera.masks];
    const said = counts && [
      Object.values(counts.zones).map((zone) => [zone.counts, zone.taken]),
      counts.lines,
    ];
    const key = JSON.stringify([size, hiddenShape, this.app.view.shapes, said, saved]);
    if (key === this.#drawn) return;
    this.#drawn = key;
    this.overlay.replaceChildren();
    if (!this.app.view.shapes || !size.width) return;
    const wanted = (/** @type {string} */ shape) => shape !== hiddenShape;
    camera.masks.forEach((points, index) => {
      if (showMasks && wanted(`mask/${index}`)) this.overlay.append(maskShape(points, size));
    });
    for (const [id, zone] of Object.entries(this.camera.zones)) {
      if (!wanted(`zone/${id}`)) continue;
      const now = counts?.zones[id];
      const bay = now?.taken === true ? "taken" : now?.taken === false ? "free" : "";
      const text = now ? bay || countsText(now.counts) || "0" : "no data";
      this.overlay.append(zoneShape(id, zone, this.size, text));
    }
    for (const [id, line] of Object.entries(this.camera.lines)) {
      if (!wanted(`line/${id}`)) continue;
      const now = counts?.lines[id];
      this.overlay.append(
        lineShape(id, line, this.size, now ? `in ${now.in ?? 0}, out ${now.out ?? 0}` : ""),
      );
    }
  }

  /** @param {boolean} visible */
  #onSeen(visible) {
    if (!this.#unsubscribe) this.#askedAt = performance.now();
    this.#unsubscribe?.();
    this.#unsubscribe = null;
    if (!visible) return;
    const density = Math.min(MAX_DENSITY, devicePixelRatio || 1);
    this.#unsubscribe = this.app.live.subscribe({
      camera: this.camera.id,
      width: Math.ceil(Math.max(160, this.size.width || this.element.clientWidth) * density),
      fps: this.fps,
      listener: (message) => this.#receive(message),
    });
  }

  /** @param {number} ratio width / height */
  #setRatio(ratio) {
    this.element.style.aspectRatio = ratio.toFixed(4);
    this.element.style.setProperty("--ratio", ratio.toFixed(4));
  }

  #measure() {
    this.size = { width: this.element.clientWidth, height: this.element.clientHeight };
    this.overlay.setAttribute("viewBox", `0 0 ${this.size.width} ${this.size.height}`);
    if (this.#unsubscribe) this.#onSeen(true); // another size is asked for
    this.#redraw();
    this.dispatchEvent(new Event("resize"));
  }

  /** @param {LiveMessage} message */
  async #receive(message) {
    this.#waiting = message;
    if (this.#decoding) return;
    this.#decoding = true;
    while (this.#waiting && !this.#closed) {
      const next = this.#waiting;
      this.#waiting = null;
      const bitmap = await createImageBitmap(next.picture).catch(() => null);
      if (bitmap) this.#show(next, bitmap);
    }
    this.#decoding = false;
  }

  /**
   * @param {LiveMessage} message
   * @param {ImageBitmap} bitmap
   */
  #show(message, bitmap) {
    if (this.#closed) {
      bitmap.close();
      return;
    }
    const before = this.shown?.result;
    this.#bitmap?.close();
    this.#bitmap = bitmap;
    this.shown = this.#last = message;
    const { width, height } = message.result;
    if (!before || before.width * height !== before.height * width) this.#setRatio(width / height);
    this.#redraw();
    if (!before) {
      this.#refreshText();
      this.dispatchEvent(new Event("first"));
    }
  }

  /** Show nothing, as at the beginning: the picture is of another time, and the next is on its way. */
  #forget() {
    this.#bitmap?.close();
    this.#bitmap = this.shown = null;
    this.canvas.getContext("2d")?.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.drawShapes();
  }

  #redraw = () => {
    if (!this.#bitmap || !this.shown || !this.size.width) {
      this.drawShapes();
      return;
    }
    const { result } = this.shown;
    const density = Math.min(MAX_DENSITY, devicePixelRatio || 1);
    const { canvas } = this;
    const [width, height] = [Math.round(this.size.width * density), Math.round(this.size.height * density)];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    if (!context) return;
    context.drawImage(this.#bitmap, 0, 0, width, height);
    const objects = this.app.view.apply(result.detections);
    drawBoxes(context, objects, this.app.labels, width / result.width, density);
    canvas.dataset.frame = String(result.frame);
    canvas.dataset.boxes = String(objects.length);
    this.drawShapes();
  };

  #onState = () => {
    const before = this.available;
    this.#refreshText();
    if (before.shown !== this.available.shown) {
      this.drawShapes();
      this.dispatchEvent(new Event("state"));
    }
  };

  /** @returns {Record<string, number>} what is shown, by class, in the model's order; only sure objects count */
  counts() {
    /** @type {Record<string, number>} */
    const counts = {};
    for (const { label } of this.app.view.apply(this.shown?.result.detections ?? []).filter(isSure)) {
      counts[label] = (counts[label] ?? 0) + 1;
    }
    const order = this.app.labels;
    return Object.fromEntries(Object.entries(counts).sort(([a], [b]) => order.indexOf(a) - order.indexOf(b)));
  }

  #refreshText() {
    const { live } = this.app;
    const status = live.statuses.get(this.camera.id);
    const asked = this.#unsubscribe && live.askedAt !== null ? Math.max(live.askedAt, this.#askedAt) : null;
    const picture = freshness(this.#last, asked);
    this.available = availability(status, live.state, picture);
    if (this.shown && picture === "past" && this.available.hasData) this.#forget();
    const { shown, badge, why, error, hasData } = this.available;
    this.element.dataset.state = shown;
    this.badge.dataset.state = shown;
    if (this.badge.textContent !== badge) this.badge.textContent = badge;
    this.ageText.textContent = this.shown ? age(this.shown.age()) : "";
    const silent = hasData || (shown === "connecting" && !this.shown && !status);
    this.veil.hidden = silent;
    const since = `${why} ${sinceText(status, shown)}`.trim();
    [since, error].forEach((text, index) => {
      const line = this.veil.children[index + 1];
      if (line.textContent !== text) line.textContent = text;
    });
    this.#refreshCounts();
  }

  #refreshCounts() {
    const has = this.available.hasData && this.shown !== null;
    const none = has ? "nothing in view" : this.available.hasData ? "waiting for a picture" : "no data";
    const counts = this.counts();
    const key = has ? JSON.stringify(counts) : this.available.shown;
    if (this.tally.dataset.key !== key) {
      this.tally.dataset.key = key;
      const rows = Object.entries(counts).map(([label, count]) => tallyRow(this.app.labels, label, count));
      const empty = h("li", { class: "tally-none" }, none);
      this.tally.replaceChildren(...(has && rows.length ? rows : [empty]));
    }
    if (performance.now() - this.#saidAt > ALTERNATIVE_PAUSE_MS || !has) {
      this.#saidAt = performance.now();
      const what = (has && countsText(counts)) || [none, this.available.why].filter(Boolean).join(". ");
      const label = `${this.camera.name ?? this.camera.id}: ${what}`;
      if (this.canvas.getAttribute("aria-label") !== label) this.canvas.setAttribute("aria-label", label);
    }
  }
}
