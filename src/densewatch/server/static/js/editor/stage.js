/**
 * Drawing over a picture, with the mouse, a finger or the keyboard.
 * @module
 */

import { s } from "../dom.js";
import { arrow, arrowTag, inArrow, pixelPoints } from "../shapes.js";
import { distance, middle, point } from "./geometry.js";

/** @typedef {import("../types.js").Point} Point */
/** @typedef {import("./draft.js").Draft} Draft */

const NEAR_PX = 14;
const STEP = 0.005;
const BIG_STEP = 0.05;
/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const HELP =
  "Drawing area. Arrow keys move the cross, with Shift faster; Space sets a point; Enter ends; Escape cancels.";

export class Stage {
  #dragged = -1;
  /** @type {Point} where the mouse is, or the cross of the keyboard */
  #cursor = [0.5, 0.5];
  #byKeys = false;

  /**
   * @param {import("../camera-view.js").CameraView} view
   * @param {Draft} draft
   * @param {() => void} cancel
   */
  constructor(view, draft, cancel) {
    this.view = view;
    this.draft = draft;
    this.cancel = cancel;
    this.svg = s("svg", { class: "edit-layer" });
    this.svg.addEventListener("pointerdown", (event) => this.#onDown(event));
    this.svg.addEventListener("pointermove", (event) => this.#onMove(event));
    this.svg.addEventListener("pointerup", () => (this.#dragged = -1));
    this.svg.addEventListener("pointercancel", () => (this.#dragged = -1));
    this.svg.addEventListener("click", (event) => this.#onClick(event));
    this.svg.addEventListener("keydown", (event) => this.#onKey(event));
    this.svg.addEventListener("blur", () => this.render());
    document.addEventListener("keydown", this.#onAnyKey);
    view.addEventListener("resize", this.render);
    draft.addEventListener("change", this.render);
    view.element.append(this.svg);
    this.render();
  }

  close() {
    document.removeEventListener("keydown", this.#onAnyKey);
    this.view.removeEventListener("resize", this.render);
    this.draft.removeEventListener("change", this.render);
    this.svg.remove();
  }

  /** Take the keyboard to the picture, to draw there. */
  focus() {
    this.svg.focus({ preventScroll: true });
    this.view.element.scrollIntoView({ block: "nearest" });
  }

  render = () => {
    const { draft, svg } = this;
    const { width, height } = this.view.size;
    const focused = svg.contains(document.activeElement)
      ? /** @type {SVGElement} */ (document.activeElement)
      : null;
    const index = focused?.dataset.point;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.classList.toggle("drawing", draft.drawing);
    if (draft.drawing) {
      for (const [name, value] of [
        ["tabindex", "0"],
        ["role", "application"],
        ["aria-label", HELP],
      ])
        svg.setAttribute(name, value);
    } else {
      for (const name of ["tabindex", "role", "aria-label"]) svg.removeAttribute(name);
    }
    svg.replaceChildren(...this.#outline(), ...this.#handles());
    if (index !== undefined)
      /** @type {SVGElement | null} */ (svg.querySelector(`[data-point="${index}"]`))?.focus();
  };

  /** @returns {SVGElement[]} */
  #outline() {
    const { draft } = this;
    const { size } = this.view;
    const open = draft.drawing || draft.kind === "line";
    const points = draft.drawing && draft.points.length ? [...draft.points, this.#cursor] : draft.points;
    /** @type {SVGElement[]} */
    const parts = ["draft-under", `draft draft-${draft.kind}`].map((look) =>
      s(open ? "polyline" : "polygon", { points: pixelPoints(points, size), class: look }),
    );
    if (draft.kind === "line" && points.length === 2) {
      const { from, to } = inArrow(points[0], points[1], size, 36);
      parts.push(s("g", { class: "draft-arrow" }, arrow(from, to), arrowTag(from, to, size, "in")));
    }
    if (draft.drawing && this.#byKeys && document.activeElement === this.svg) {
      const [x, y] = [this.#cursor[0] * size.width, this.#cursor[1] * size.height];
      parts.push(s("path", { class: "cross", d: `M${x - 12} ${y}h24M${x} ${y - 12}v24` }));
    }
    return parts;
  }

  /** @returns {SVGElement[]} */
  #handles() {
    const { draft } = this;
    const { size } = this.view;
    const parts = draft.points.map(([x, y], index) => {
      const label = `Point ${index + 1}: ${(x * 100).toFixed(1)} % across, ${(y * 100).toFixed(1)} % down. Arrow keys move it.`;
      const keys = draft.drawing ? {} : { tabindex: 0, role: "button", "aria-label": label };
      const end = draft.drawing && index === 0 && draft.kind !== "line" && draft.isWhole;
      const at = { cx: x * size.width, cy: y * size.height, r: end ? 10 : 7 };
      return s("circle", {
        ...at,
        ...keys,
        class: end ? "handle handle-end" : "handle",
        "data-point": index,
      });
    });
    if (draft.drawing || draft.kind === "line" || draft.points.length >= draft.most) return parts;
    const between = draft.points.map((from, index) => {
      const [x, y] = middle(from, draft.points[(index + 1) % draft.points.length]);
      return s("circle", {
        cx: x * size.width,
        cy: y * size.height,
        r: 5,
        class: "handle-between",
        "data-between": index,
      });
    });
    return [...between, ...parts];
  }

  /**
   * @param {MouseEvent} event
   * @returns {Point}
   */
  #at(event) {
    const frame = this.svg.getBoundingClientRect();
    return point((event.clientX - frame.left) / frame.width, (event.clientY - frame.top) / frame.height);
  }

  /** @param {PointerEvent} event */
  #onDown(event) {
    if (this.draft.drawing || event.button !== 0) return;
    const at = this.#at(event);
    const near = (/** @type {Point} */ other) => distance(at, other, this.view.size) <= NEAR_PX;
    const { points } = this.draft;
    let index = points.findIndex(near);
    if (index >= 0) {
      this.draft.keep();
    } else if (this.draft.kind !== "line") {
      const before = points.findIndex((from, i) => near(middle(from, points[(i + 1) % points.length])));
      if (before < 0) return;
      this.draft.add(at, before + 1);
      index = before + 1;
    }
    if (index < 0) return;
    this.#dragged = index;
    this.svg.setPointerCapture(event.pointerId);
    event.preventDefault();
  }

  /** @param {PointerEvent} event */
  #onMove(event) {
    if (this.#dragged >= 0) {
      this.draft.move(this.#dragged, this.#at(event));
    } else if (this.draft.drawing) {
      this.#byKeys = false;
      this.#cursor = this.#at(event);
      this.render();
    }
  }

  /** @param {MouseEvent} event */
  #onClick(event) {
    if (!this.draft.drawing) return;
    const at = this.#at(event);
    const [first] = this.draft.points;
    const onFirst = first && this.draft.kind !== "line" && distance(at, first, this.view.size) <= NEAR_PX;
    if (event.detail >= 2 || (onFirst && this.draft.isWhole)) {
      this.draft.finish(); // the first click of a double-click has set the point
      return;
    }
    this.#cursor = at;
    this.draft.add(at);
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const index = Number(/** @type {SVGElement} */ (event.target).dataset.point ?? -1);
    const way = ARROWS[event.key];
    if (way) {
      const step = event.shiftKey ? BIG_STEP : STEP;
      const moved = (/** @type {Point} */ from) => point(from[0] + way[0] * step, from[1] + way[1] * step);
      if (index >= 0) {
        this.draft.keep();
        this.draft.move(index, moved(this.draft.points[index]));
      } else if (this.draft.drawing) {
        this.#byKeys = true;
        this.#cursor = moved(this.#cursor);
        this.render();
      }
      event.preventDefault();
    } else if (index >= 0 && (event.key === "Delete" || event.key === "Backspace")) {
      this.draft.remove(index);
      event.preventDefault();
    } else if (event.key === " " && this.draft.drawing) {
      this.draft.add(this.#cursor);
      event.preventDefault();
    }
  }

  /** @param {KeyboardEvent} event */
  #onAnyKey = (event) => {
    const typing = /** @type {Element} */ (event.target).closest?.(
      "input, select, textarea, button, summary, a, dialog",
    );
    if (event.key === "Escape") {
      this.cancel();
    } else if (event.key === "Enter" && this.draft.drawing && !typing) {
      this.draft.finish();
      event.preventDefault();
    } else if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey) && !typing) {
      this.draft.undo();
      event.preventDefault();
    }
  };
}
