/**
 * What is set of a zone, a line or a mask, and its points as numbers.
 * @module
 */

import { classPicker } from "../class-picker.js";
import { errorNote, field, h, select } from "../dom.js";
import { crossesItself } from "./geometry.js";
import { pointsTable } from "./points-table.js";

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
  const idInput = h("input", {
    required: true,
    pattern: ID_PATTERN,
    maxlength: 64,
    value: draft.id,
    spellcheck: "false",
    autocapitalize: "none",
    autocomplete: "off",
    readonly: !draft.isNew,
  });
  idInput.title = "Small letters, digits, - and _; begins with a letter or digit";
  const idHint = draft.isNew
    ? "Small letters, digits, - and _"
    : "Its history is kept under this name, so it stays.";
  const options = named ? filterFields(draft, labels) : null;
  const help = h("p", { class: "hint" });
  const notes = h("div");
  const removing = actions.remove;
  const saveButton = h("button", { class: "primary" }, "Save");
  const undo = h("button", { type: "button", onclick: () => draft.undo() }, "Undo");
  const form = h(
    "form",
    { class: "editor-form", "aria-label": `${draft.isNew ? "New" : "Change"} ${TITLES[draft.kind]}` },
    h("h3", {}, `${draft.isNew ? "New" : "Change"} ${TITLES[draft.kind]}`),
    help,
    named && field("Name", idInput, idHint),
    options?.elements,
    pointsTable(draft),
    draft.kind === "line" &&
      h("button", { type: "button", class: "small", onclick: () => turn(draft) }, "Swap in and out"),
    notes,
    h(
      "div",
      { class: "row" },
      saveButton,
      undo,
      h("button", { type: "button", onclick: actions.cancel }, "Cancel"),
      removing &&
        h(
          "button",
          {
            type: "button",
            class: "danger push",
            onclick: () => confirmRemoval(form, notes, draft, removing),
          },
          "Delete",
        ),
    ),
  );
  const refresh = () => {
    help.textContent = hint(draft);
    undo.disabled = !draft.canUndo;
    saveButton.disabled = !draft.isWhole;
    const tangled = draft.kind !== "line" && crossesItself(draft.points);
    notes.replaceChildren(
      tangled ? h("p", { class: "note note-warn", role: "status" }, "Its edges cross each other.") : "",
    );
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
    await attempt(notes, saveButton, () =>
      actions.save(idInput.value, { ...draft.settings, ...options?.read() }),
    );
  });
  return form;
}

/** @param {Draft} draft */
function hint(draft) {
  if (!draft.drawing) return "Drag the points in the picture, or change the numbers.";
  if (draft.kind === "line")
    return "Click its start and its end in the picture. Who looks from start to end sees “in” go to the right.";
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
  const what =
    draft.kind === "mask"
      ? "Delete this mask? What it hid will be seen."
      : `Delete ${draft.id}? What was counted stays in the history.`;
  const yes = h("button", { type: "button", class: "danger" }, "Delete for good");
  yes.addEventListener("click", () => attempt(notes, yes, remove));
  const no = h("button", { type: "button", onclick: () => notes.replaceChildren() }, "Keep");
  notes.replaceChildren(
    h(
      "div",
      { class: "note note-warn", role: "alert" },
      h("p", {}, what),
      h("div", { class: "row" }, yes, no),
    ),
  );
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
  const threshold = h("input", {
    type: "number",
    min: 0.01,
    max: 1,
    step: 0.01,
    value: settings.threshold ?? "",
    placeholder: "as the camera",
  });
  const anchor = select(
    [
      ["bottom", "the feet: the box’s lower edge"],
      ["center", "the middle of the box"],
    ],
    settings.anchor ?? (draft.kind === "zone" ? "bottom" : "center"),
  );
  const bay = h("input", { type: "checkbox", checked: Boolean(settings.bay) });
  const margin = h("input", {
    type: "number",
    min: 0,
    max: 100,
    step: 0.1,
    value: Math.round((settings.margin ?? 0.01) * 1000) / 10,
  });
  const isZone = draft.kind === "zone";
  const elements = [
    h("div", { class: "field" }, h("span", { class: "field-name" }, "Counts"), picker),
    field("Threshold", threshold),
    field(isZone ? "What must be inside" : "What must go over it", anchor),
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
