/**
 * The tools of those who may change a camera's zones, lines and masks.
 * @module
 */

import { path } from "../api.js";
import { announce, h } from "../dom.js";
import { Draft } from "./draft.js";
import { draftForm } from "./form.js";
import { point } from "./geometry.js";
import { Stage } from "./stage.js";

/** @typedef {import("../types.js").Camera} Camera */
/** @typedef {import("../types.js").Point} Point */
/** @typedef {import("./draft.js").Kind} Kind */

/** @type {Record<Kind, Point[]>} where a shape begins that is made by numbers */
const FIRST_POINTS = {
  zone: [point(0.3, 0.3), point(0.7, 0.3), point(0.7, 0.7), point(0.3, 0.7)],
  line: [point(0.3, 0.5), point(0.7, 0.5)],
  mask: [point(0, 0), point(0.25, 0), point(0.25, 0.25), point(0, 0.25)],
};

/** @param {string} word */
function capital(word) {
  return word.charAt(0).toUpperCase() + word.slice(1);
}

export class EditorPanel extends EventTarget {
  /** @type {Stage | null} */
  #stage = null;
  /** @type {Draft | null} */
  #draft = null;

  /**
   * @param {import("../types.js").App} app
   * @param {import("../camera-view.js").CameraView} view
   */
  constructor(app, view) {
    super();
    this.app = app;
    this.view = view;
    this.element = h("section", { class: "panel editor", "aria-label": "Zones and lines" });
    view.showMasks = app.may("admin");
    this.#list();
  }

  close() {
    this.#stage?.close();
    this.#stage = null;
    this.#draft = null;
    this.view.hiddenShape = "";
  }

  /** @param {string} [focus] which button gets the keyboard */
  #list(focus) {
    const { camera } = this.view;
    this.close();
    const row = (/** @type {Kind} */ kind, /** @type {string} */ id, /** @type {string} */ text) => {
      const button = h(
        "button",
        {
          type: "button",
          class: "small",
          "data-shape": `${kind}/${id}`,
          "aria-label": `Change ${text}`,
          onclick: () => this.#change(kind, id),
        },
        "Change",
      );
      return h(
        "li",
        {},
        h("span", { class: `key key-${kind}`, "aria-hidden": "true" }),
        h("span", { class: "grow" }, text),
        button,
      );
    };
    const rows = [
      ...Object.keys(camera.zones).map((id) => row("zone", id, id)),
      ...Object.keys(camera.lines).map((id) => row("line", id, id)),
      ...(this.app.may("admin")
        ? camera.masks.map((_, index) => row("mask", String(index), `Mask ${index + 1}`))
        : []),
    ];
    /** @type {Kind[]} */
    const kinds = this.app.may("admin") ? ["zone", "line", "mask"] : ["zone", "line"];
    const draw = kinds.map((kind) =>
      h(
        "button",
        {
          type: "button",
          "data-draw": kind,
          "aria-label": `Draw a ${kind}`,
          onclick: () => this.#begin(new Draft(kind, "", [], {})),
        },
        capital(kind),
      ),
    );
    const type = kinds.map((kind) =>
      h(
        "button",
        {
          type: "button",
          class: "small link",
          "data-type": kind,
          "aria-label": `A ${kind} by numbers`,
          onclick: () => this.#byNumbers(kind),
        },
        capital(kind),
      ),
    );
    this.element.replaceChildren(
      h("h2", {}, "Zones and lines"),
      rows.length
        ? h("ul", { class: "shape-list" }, rows)
        : h(
            "p",
            { class: "hint" },
            "None yet. A zone counts what is in it; a line counts what goes over it.",
          ),
      h("div", { class: "row" }, h("span", { class: "row-name" }, "Draw"), draw),
      h("div", { class: "row" }, h("span", { class: "row-name" }, "By numbers"), type),
    );
    this.view.drawShapes();
    const wanted = focus ? this.element.querySelector(`[data-shape="${focus}"]`) : null;
    if (focus !== undefined)
      /** @type {HTMLElement | null} */ (wanted ?? this.element.querySelector("[data-draw]"))?.focus();
  }

  /** @param {Kind} kind */
  #byNumbers(kind) {
    this.#begin(new Draft(kind, "", FIRST_POINTS[kind], {}));
  }

  /**
   * @param {Kind} kind
   * @param {string} id
   */
  #change(kind, id) {
    const { camera } = this.view;
    if (kind === "zone") {
      const { points, ...settings } = camera.zones[id];
      this.#begin(new Draft(kind, id, points, settings));
    } else if (kind === "line") {
      const { start, end, ...settings } = camera.lines[id];
      this.#begin(new Draft(kind, id, [start, end], settings));
    } else {
      this.#begin(new Draft(kind, id, camera.masks[Number(id)], {}));
    }
  }

  /** @param {Draft} draft */
  #begin(draft) {
    this.close();
    this.#draft = draft;
    this.view.hiddenShape = draft.isNew ? "" : `${draft.kind}/${draft.id}`;
    this.view.drawShapes();
    const back = draft.isNew ? "" : `${draft.kind}/${draft.id}`;
    const form = draftForm(draft, this.view.camera.labels, {
      save: (id, settings) => this.#save(draft, id, settings),
      remove: draft.isNew ? null : () => this.#remove(draft),
      cancel: () => this.#list(back),
    });
    this.element.replaceChildren(form);
    this.#stage = new Stage(this.view, draft, () => this.#list(back));
    const first = /** @type {HTMLElement | null} */ (form.querySelector("input:not([readonly]), button"));
    if (draft.drawing) {
      this.#stage.focus();
      draft.addEventListener("finish", () => {
        const details = form.querySelector("details.points");
        if (details instanceof HTMLDetailsElement) details.open = true;
        if (this.#draft === draft)
          first?.focus({ preventScroll: matchMedia("(max-width: 60rem)").matches === false });
        announce(`${draft.kind} with ${draft.points.length} points. Give it a name and save.`);
      });
    } else {
      first?.focus();
    }
  }

  /**
   * @param {Draft} draft
   * @param {string} id
   * @param {Record<string, any>} settings
   */
  async #save(draft, id, settings) {
    const { camera } = this.view;
    const { api } = this.app;
    const { points, kind } = draft;
    if (kind === "mask") {
      const index = draft.isNew ? camera.masks.length : Number(draft.id);
      const masks = [...camera.masks.slice(0, index), points, ...camera.masks.slice(index + 1)];
      this.#take(await api.put(path`cameras/${camera.id}/masks`, masks));
      this.#done(`mask/${index}`, "Mask saved.");
      return;
    }
    const known = kind === "zone" ? camera.zones : camera.lines;
    if (draft.isNew && Object.hasOwn(known, id))
      throw new Error(`There is a ${kind} ${id} already. Choose another name.`);
    if (kind === "zone") {
      this.#take(await api.put(path`cameras/${camera.id}/zones/${id}`, { ...settings, points }));
    } else {
      const line = { ...settings, start: points[0], end: points[1] };
      this.#take(await api.put(path`cameras/${camera.id}/lines/${id}`, line));
    }
    this.#done(`${kind}/${id}`, `${id} saved.`);
  }

  /** @param {Camera} answer what is drawn in the picture now; somebody else may have drawn too */
  #take({ zones, lines, masks }) {
    Object.assign(this.view.camera, { zones, lines, masks });
  }

  /** @param {Draft} draft */
  async #remove(draft) {
    const { camera } = this.view;
    const { api } = this.app;
    if (draft.kind === "mask") {
      const masks = camera.masks.filter((_, index) => index !== Number(draft.id));
      this.#take(await api.put(path`cameras/${camera.id}/masks`, masks));
    } else if (draft.kind === "zone") {
      this.#take(await api.delete(path`cameras/${camera.id}/zones/${draft.id}`));
    } else {
      this.#take(await api.delete(path`cameras/${camera.id}/lines/${draft.id}`));
    }
    this.#done("", draft.kind === "mask" ? "Mask deleted." : `${draft.id} deleted.`);
  }

  /**
   * @param {string} focus
   * @param {string} text
   */
  #done(focus, text) {
    this.#list(focus);
    announce(text);
    this.dispatchEvent(new Event("saved"));
  }
}
