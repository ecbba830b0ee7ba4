/**
 * Beside a chart: which line is whose, and what the bin says that somebody points at.
 * @module
 */

import { h } from "../dom.js";
import { localTime, utc } from "../times.js";

/**
 * @param {Record<string, any>} line
 * @param {number} index of the bin
 * @param {boolean} isCrossing
 * @returns {string} the numbers of a class in a bin; one may have none where others have
 */
export function valueText(line, index, isCrossing) {
  if (isCrossing) {
    const [entered, left] = [line.entered[index], line.left[index]];
    return entered === null ? "no data" : `${entered} in, ${left} out`;
  }
  const mean = line.mean[index];
  if (mean === null) return "no data";
  return `${mean.toFixed(mean < 10 ? 2 : 1)} (${line.minimum[index]}–${line.maximum[index]})`;
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
    for (const { line, value } of rows) value.textContent = valueText(line, index, isCrossing);
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
