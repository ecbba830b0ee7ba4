/**
 * Beside a chart: which line is whose, and what the bin says that somebody points at.
 * @module
 */

import { h } from "../dom.js";
import { localTime, utc } from "../times.js";

/** @param {number | null} value */
export function bare(value) {
  return value === null ? "–" : String(value);
}

/** @param {number | null} value */
export function decimal(value) {
  return value === null ? "–" : value.toFixed(value < 10 ? 2 : 1);
}

/**
 * @param {import("../chart.js").Grid} grid
 * @param {Array<Record<string, any>>} lines
 * @param {Set<string>} hidden labels; changed by a click
 * @param {boolean} isCrossing
 * @param {() => void} onChange
 */
export function legend(grid, lines, hidden, isCrossing, onChange) {
  const when = h("p", { class: "legend-time" }, "Point at the chart to read its values.");
  const rows = lines.map((line) => {
    const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.backgroundColor = line.color;
    const value = h("span", { class: "legend-value" });
    const button = h(
      "button",
      { type: "button", class: "legend-item", "aria-pressed": !hidden.has(line.label) ? "true" : "false" },
      swatch,
      line.label,
      value,
    );
    button.addEventListener("click", () => {
      if (!hidden.delete(line.label)) hidden.add(line.label);
      button.setAttribute("aria-pressed", String(!hidden.has(line.label)));
      onChange();
    });
    return { line, value, button };
  });
  /** @param {number | null} index of the bin that somebody points at */
  const point = (index) => {
    if (index === null) {
      when.textContent = "Point at the chart to read its values.";
      rows.forEach(({ value }) => (value.textContent = ""));
      return;
    }
    const start = grid.times[index];
    const share = grid.observed[index];
    when.textContent = `${localTime(start, "short")} (${utc(start)}): ${share === 0 ? "no data" : `${Math.round(share * 100)} % observed`}`;
    for (const { line, value } of rows) {
      if (share === 0) value.textContent = "no data";
      else if (isCrossing)
        value.textContent = `${bare(line.entered[index])} in, ${bare(line.left[index])} out`;
      else
        value.textContent = `${decimal(line.mean[index])} (${bare(line.minimum[index])}–${bare(line.maximum[index])})`;
    }
  };
  const element = h(
    "div",
    { class: "legend" },
    when,
    h(
      "div",
      { class: "legend-items", role: "group", "aria-label": "Classes in the chart" },
      rows.map(({ button }) => button),
    ),
  );
  return { element, point };
}
