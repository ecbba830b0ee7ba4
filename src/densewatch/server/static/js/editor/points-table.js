/**
 * The points of a draft as a table of numbers.
 * @module
 */

import { h } from "../dom.js";
import { LEAST_POINTS } from "./draft.js";
import { point } from "./geometry.js";

/** @typedef {import("./draft.js").Draft} Draft */

/**
 * The points as numbers: what one does who cannot or will not use the mouse.
 * @param {Draft} draft
 * @returns {HTMLElement}
 */
export function pointsTable(draft) {
  const body = h("tbody");
  const names = draft.kind === "line" ? ["start", "end"] : [];
  const coordinate = (/** @type {number} */ index, /** @type {0 | 1} */ axis) => {
    const what = `${names[index] ?? `Point ${index + 1}`}, ${axis ? "% down" : "% across"}`;
    const value = Math.round(draft.points[index][axis] * 10_000) / 100;
    const input = h("input", {
      type: "number",
      min: 0,
      max: 100,
      step: "any",
      required: true,
      value,
      "aria-label": what,
    });
    input.addEventListener("change", () => {
      if (!input.checkValidity()) return;
      const next = /** @type {[number, number]} */ ([...draft.points[index]]);
      next[axis] = Number(input.value) / 100;
      draft.keep();
      draft.move(index, point(...next));
    });
    return input;
  };
  const remove = (/** @type {number} */ index) =>
    h(
      "button",
      {
        type: "button",
        class: "small",
        "aria-label": `Remove point ${index + 1}`,
        onclick: () => draft.remove(index),
      },
      "×",
    );
  const render = () => {
    const inputs = [...body.querySelectorAll("input")];
    if (inputs.length === draft.points.length * 2) {
      inputs.forEach(
        (input, at) => (input.value = String(Math.round(draft.points[at >> 1][at % 2] * 10_000) / 100)),
      );
      return; // the same rows: whoever is among them keeps their place
    }
    const loose = draft.kind !== "line" && draft.points.length > LEAST_POINTS[draft.kind];
    body.replaceChildren(
      ...draft.points.map((_, index) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, names[index] ?? index + 1),
          h("td", {}, coordinate(index, 0)),
          h("td", {}, coordinate(index, 1)),
          h("td", {}, loose && remove(index)),
        ),
      ),
    );
  };
  draft.addEventListener("change", render);
  render();
  const head = h(
    "tr",
    {},
    ["Point", "% across", "% down", ""].map((text) => h("th", { scope: "col" }, text)),
  );
  const add = h(
    "button",
    { type: "button", class: "small", onclick: () => addRow(draft, body) },
    "Add a point",
  );
  return h(
    "details",
    { class: "points", open: !draft.drawing },
    h("summary", {}, "Points as numbers"),
    h("table", {}, h("caption", { class: "visually-hidden" }, "Points"), h("thead", {}, head), body),
    add,
  );
}

/**
 * @param {Draft} draft
 * @param {HTMLElement} body
 */
function addRow(draft, body) {
  const [last = [0.4, 0.4], first = [0.6, 0.6]] = [draft.points.at(-1), draft.points[0]];
  const far = draft.points.length > 1;
  draft.add(far ? point((last[0] + first[0]) / 2, (last[1] + first[1]) / 2) : point(last[0] + 0.1, last[1]));
  /** @type {HTMLElement | null} */ (body.querySelector("tr:last-child input"))?.focus();
}
