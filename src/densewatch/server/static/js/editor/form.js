/**
 * What is set of a zone, a line or a mask, and its points as numbers.
 * @module
 */

import { classPicker } from "../class-picker.js";
import { errorNote, field, h, select } from "../dom.js";
import { LEAST_POINTS } from "./draft.js";
import { crossesItself, point } from "./geometry.js";

/** @typedef {import("./draft.js").Draft} Draft */

export const ID_PATTERN = "[a-z0-9][a-z0-9_\\-]{0,63}";
const TITLES = { zone: "zone", line: "line", mask: "privacy mask" };

/**
 * @typedef {object} Actions
 * @property {(id: string, settings: Record<string, any>) => Promise<void>} save
 * @property {(() => Promise<void>) | null} remove null for a new one
 * @property {() => void} cancel
 */

/**
 * @param {Draft} draft
 * @param {string[]} labels classes that the camera's model knows
 * @param {Actions} actions
 * @returns {HTMLFormElement}
 */
export function draftForm(draft, labels, actions) {
  const named = draft.kind !== "mask";
  const idInput = h("input", { required: true, pattern: ID_PATTERN, maxlength: 64, value: draft.id, spellcheck: "false", autocapitalize: "none", autocomplete: "off", readonly: !draft.isNew });
  idInput.title = "Small letters, digits, - and _; begins with a letter or digit";
  const idHint = draft.isNew ? "Small letters, digits, - and _" : "Its history is kept under this name, so it stays.";
  const options = named ? filterFields(draft, labels) : null;
  const notes = h("div");
  const removing = actions.remove;
  const saveButton = h("button", { class: "primary" }, "Save");
  const undo = h("button", { type: "button", onclick: () => draft.undo() }, "Undo");
  const form = h(
    "form",
    { class: "editor-form", "aria-label": `${draft.isNew ? "New" : "Change"} ${TITLES[draft.kind]}` },
    h("h3", {}, `${draft.isNew ? "New" : "Change"} ${TITLES[draft.kind]}`),
    h("p", { class: "hint" }, hint(draft)),
    named && field("Name", idInput, idHint),
    options?.elements,
    pointsTable(draft),
    draft.kind === "line" && h("button", { type: "button", class: "small", onclick: () => turn(draft) }, "Swap in and out"),
    notes,
    h(
      "div",
      { class: "row" },
      saveButton,
      undo,
      h("button", { type: "button", onclick: actions.cancel }, "Cancel"),
      removing && h("button", { type: "button", class: "danger push", onclick: () => confirmRemoval(form, notes, draft, removing) }, "Delete"),
    ),
  );
  const refresh = () => {
    undo.disabled = !draft.canUndo;
    saveButton.disabled = !draft.isWhole;
    const tangled = draft.kind !== "line" && crossesItself(draft.points);
    notes.replaceChildren(tangled ? h("p", { class: "note note-warn", role: "status" }, "Its edges cross each other.") : "");
  };
  draft.addEventListener("change", refresh);
  refresh();
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (options?.read().only?.length === 0) {
      notes.replaceChildren(errorNote("Choose at least one class that counts."));
      return;
    }
    draft.finish();
    await attempt(notes, saveButton, () => actions.save(idInput.value, { ...draft.settings, ...options?.read() }));
  });
  return form;
}

/** @param {Draft} draft */
function hint(draft) {
  if (!draft.isNew) return "Drag the points in the picture, or change the numbers.";
  if (draft.kind === "line") return "Click its start and its end in the picture. Who looks from start to end sees “in” go to the right.";
  const what = draft.kind === "mask" ? " It is blackened before anything else sees the picture." : "";
  return `Click its corners in the picture; Enter, a double-click or the first point ends. Escape cancels.${what}`;
}

/** @param {Draft} draft */
function turn(draft) {
  draft.keep();
  draft.set([...draft.points].reverse());
}

/**
 * @param {HTMLElement} notes
 * @param {HTMLButtonElement} button
 * @param {() => Promise<void>} action
 */
async function attempt(notes, button, action) {
  button.disabled = true;
  try {
    await action();
  } catch (error) {
    notes.replaceChildren(errorNote(error));
  } finally {
    button.disabled = false;
  }
}

/**
 * @param {HTMLElement} form
 * @param {HTMLElement} notes
 * @param {Draft} draft
 * @param {() => Promise<void>} remove
 */
function confirmRemoval(form, notes, draft, remove) {
  const what = draft.kind === "mask" ? "Delete this mask? What it hid will be seen." : `Delete ${draft.id}? What was counted stays in the history.`;
  const yes = h("button", { type: "button", class: "danger" }, "Delete for good");
  yes.addEventListener("click", () => attempt(notes, yes, remove));
  const no = h("button", { type: "button", onclick: () => notes.replaceChildren() }, "Keep");
  notes.replaceChildren(h("div", { class: "note note-warn", role: "alert" }, h("p", {}, what), h("div", { class: "row" }, yes, no)));
  no.focus();
  form.scrollIntoView({ block: "nearest" });
}

/**
 * @param {Draft} draft
 * @param {string[]} labels
 */
function filterFields(draft, labels) {
  const { settings } = draft;
  /** @type {string[] | null} */
  let only = settings.only ?? null;
  const picker = classPicker(labels, only, (chosen) => (only = chosen));
  const threshold = h("input", { type: "number", min: 0.01, max: 1, step: 0.01, value: settings.threshold ?? "", placeholder: "as the camera" });
  const anchor = select(
    [["bottom", "the feet: middle of the lower edge"], ["center", "the middle of the box"]],
    settings.anchor ?? (draft.kind === "zone" ? "bottom" : "center"),
  );
  const bay = h("input", { type: "checkbox", checked: Boolean(settings.bay) });
  const margin = h("input", { type: "number", min: 0, max: 100, step: 0.1, value: Math.round((settings.margin ?? 0.01) * 1000) / 10 });
  const isZone = draft.kind === "zone";
  const elements = [
    h("div", { class: "field" }, h("span", { class: "field-name" }, "Counts"), picker),
    field("Threshold", threshold),
    field(isZone ? "Inside is where it has" : "Goes over it with", anchor),
    isZone
      ? h("label", { class: "check" }, bay, "A parking bay: free, or taken by one object")
      : field("Beyond the line, in % of the diagonal", margin, "So far must an object go until it counts."),
  ];
  return {
    elements,
    read: () => ({
      only,
      threshold: threshold.value === "" ? null : Number(threshold.value),
      anchor: anchor.value,
      ...(isZone ? { bay: bay.checked } : { margin: Number(margin.value) / 100 }),
    }),
  };
}

/**
 * The points as numbers: what one does who cannot or will not use the mouse.
 * @param {Draft} draft
 * @returns {HTMLElement}
 */
function pointsTable(draft) {
  const body = h("tbody");
  const names = draft.kind === "line" ? ["start", "end"] : [];
  const coordinate = (/** @type {number} */ index, /** @type {0 | 1} */ axis) => {
    const what = `${names[index] ?? `Point ${index + 1}`}, ${axis ? "% down" : "% across"}`;
    const value = Math.round(draft.points[index][axis] * 10_000) / 100;
    const input = h("input", { type: "number", min: 0, max: 100, step: "any", required: true, value, "aria-label": what });
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
    h("button", { type: "button", class: "small", "aria-label": `Remove point ${index + 1}`, onclick: () => draft.remove(index) }, "×");
  const render = () => {
    const inputs = [...body.querySelectorAll("input")];
    if (inputs.length === draft.points.length * 2) {
      inputs.forEach((input, at) => (input.value = String(Math.round(draft.points[at >> 1][at % 2] * 10_000) / 100)));
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
  const head = h("tr", {}, ["Point", "% across", "% down", ""].map((text) => h("th", { scope: "col" }, text)));
  const add = h("button", { type: "button", class: "small", onclick: () => addRow(draft, body) }, "Add a point");
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
