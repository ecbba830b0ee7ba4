/**
 * A zone, line or mask that somebody draws or changes, with what it was before.
 * @module
 */

/** @typedef {import("../types.js").Point} Point */
/** @typedef {"zone" | "line" | "mask"} Kind */

const MOST_UNDO = 200;
const MOST_POINTS = 100;

/** @type {Record<Kind, number>} */
export const LEAST_POINTS = { zone: 3, line: 2, mask: 3 };

export class Draft extends EventTarget {
  /** @type {Point[][]} */
  #past = [];

  /**
   * @param {Kind} kind
   * @param {string} id empty for a new one; of a mask its index
   * @param {Point[]} points
   * @param {Record<string, any>} settings what else is set of it, as it is saved
   */
  constructor(kind, id, points, settings) {
    super();
    this.kind = kind;
    this.id = id;
    this.isNew = id === "";
    this.points = points;
    this.settings = settings;
    this.drawing = points.length === 0;
  }

  get most() {
    return this.kind === "line" ? 2 : MOST_POINTS;
  }

  get isWhole() {
    return this.points.length >= LEAST_POINTS[this.kind];
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  /** Remember the points as they are, before they change. */
  keep() {
    this.#past.push(this.points);
    if (this.#past.length > MOST_UNDO) this.#past.shift();
  }

  /** @param {Point[]} points */
  set(points) {
    this.points = points;
    this.dispatchEvent(new Event("change"));
  }

  /**
   * @param {Point} point
   * @param {number} [index] where; at the end where it is left out
   */
  add(point, index = this.points.length) {
    if (this.points.length >= this.most) return;
    this.keep();
    this.set([...this.points.slice(0, index), point, ...this.points.slice(index)]);
    if (this.drawing && this.points.length === this.most) this.finish();
  }

  /**
   * @param {number} index
   * @param {Point} point
   */
  move(index, point) {
    this.set(this.points.map((old, at) => (at === index ? point : old)));
  }

  /** @param {number} index */
  remove(index) {
    if (this.points.length <= LEAST_POINTS[this.kind]) return;
    this.keep();
    this.set(this.points.filter((_, at) => at !== index));
  }

  undo() {
    const points = this.#past.pop();
    if (points) this.set(points);
  }

  /** Stop drawing; its points can be changed from now on. */
  finish() {
    if (!this.drawing || !this.isWhole) return;
    this.drawing = false;
    this.dispatchEvent(new Event("finish"));
    this.dispatchEvent(new Event("change"));
  }
}
