/**
 * Threshold and classes of this viewer.
 * @module
 */

import { classPicker } from "./class-picker.js";
import { h, uniqueId } from "./dom.js";

/**
 * @param {import("./view-settings.js").ViewSettings} view
 * @param {string[]} labels all classes that there are
 * @returns {HTMLElement}
 */
export function filterBar(view, labels) {
  return h(
    "section",
    { class: "filter-bar", "aria-label": "What you see" },
    thresholdSlider(view),
    classPicker(labels, view.only, (only) => view.set({ only })),
    shapesSwitch(view),
  );
}

/** @param {import("./view-settings.js").ViewSettings} view */
function thresholdSlider(view) {
  const id = uniqueId("threshold");
  const slider = h("input", { id, type: "range", min: 0, max: 1, step: 0.01, value: view.threshold });
  const output = h("output", { for: id });
  const show = () => {
    output.textContent = view.threshold.toFixed(2);
    slider.setAttribute(
      "aria-valuetext",
      view.threshold ? `score ${view.threshold.toFixed(2)} and more` : "all objects",
    );
    slider.style.setProperty("--part", `${view.threshold * 100}%`);
  };
  slider.addEventListener("input", () => {
    view.set({ threshold: Number(slider.value) });
    show();
  });
  show();
  return h("div", { class: "slider" }, h("label", { for: id }, "Threshold"), slider, output);
}

/** @param {import("./view-settings.js").ViewSettings} view */
function shapesSwitch(view) {
  const box = h("input", { type: "checkbox", checked: view.shapes });
  box.addEventListener("change", () => view.set({ shapes: box.checked }));
  return h("label", { class: "check" }, box, "Zones");
}
