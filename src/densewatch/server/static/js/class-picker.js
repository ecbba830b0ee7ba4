/**
 * A list of classes to choose from, folded away behind how many are chosen.
 * @module
 */

import { h } from "./dom.js";
import { icon } from "./icons.js";

/**
 * @param {string[]} labels all classes
 * @param {string[] | null} chosen null is all
 * @param {(chosen: string[] | null) => void} onChange
 * @returns {HTMLDetailsElement}
 */
export function classPicker(labels, chosen, onChange) {
  const count = h("span");
  const boxes = labels.map((label) => h("input", { type: "checkbox", value: label }));
  const rows = labels.map((label, index) => h("label", { class: "check" }, boxes[index], label));
  const show = () => {
    boxes.forEach((box) => (box.checked = !chosen || chosen.includes(box.value)));
    count.textContent = chosen ? `${boxes.filter((box) => box.checked).length} of ${labels.length}` : "all";
  };
  const choose = () => {
    const names = boxes.filter((box) => box.checked).map((box) => box.value);
    chosen = names.length === labels.length ? null : names;
    onChange(chosen);
    show();
  };
  boxes.forEach((box) => box.addEventListener("change", choose));
  const search = h("input", { type: "search", placeholder: "Find a class", "aria-label": "Find a class" });
  search.addEventListener("input", () => {
    const wanted = search.value.trim().toLowerCase();
    rows.forEach((row, index) => (row.hidden = !labels[index].toLowerCase().includes(wanted)));
  });
  const all = (/** @type {boolean} */ on) => () => {
    boxes.forEach((box, index) => {
      if (!rows[index].hidden) box.checked = on;
    });
    choose();
  };
  show();
  const details = h(
    "details",
    { class: "popover" },
    h("summary", {}, icon("filter"), "Classes: ", count),
    h(
      "div",
      { class: "popover-panel" },
      search,
      h(
        "div",
        { class: "row" },
        h("button", { type: "button", class: "small", onclick: all(true) }, "All"),
        h("button", { type: "button", class: "small", onclick: all(false) }, "None"),
      ),
      h("div", { class: "check-list" }, rows),
    ),
  );
  closeOutside(details);
  return details;
}

/**
 * Close a list when one goes elsewhere or presses Escape.
 * @param {HTMLDetailsElement} details
 */
function closeOutside(details) {
  details.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !details.open) return;
    details.open = false;
    details.querySelector("summary")?.focus();
    event.stopPropagation();
  });
  const onDown = (/** @type {Event} */ event) => {
    if (!details.isConnected) document.removeEventListener("pointerdown", onDown);
    else if (!details.contains(/** @type {Node} */ (event.target))) details.open = false;
  };
  details.addEventListener("toggle", () => {
    document.removeEventListener("pointerdown", onDown);
    if (details.open) document.addEventListener("pointerdown", onDown);
  });
}
