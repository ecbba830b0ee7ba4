/**
 * Counts by class, as a sentence and as rows.
 * @module
 */

import { classColor } from "./colors.js";
import { h } from "./dom.js";

/**
 * @param {Record<string, number>} counts
 * @returns {string} such as "3 person, 1 car"
 */
export function countsText(counts) {
  return Object.entries(counts)
    .map(([label, count]) => `${count} ${label}`)
    .join(", ");
}

/**
 * @param {string[]} labels
 * @param {string} label
 * @param {number} count
 * @returns {HTMLElement}
 */
export function tallyRow(labels, label, count) {
  const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
  swatch.style.backgroundColor = classColor(labels, label);
  return h("li", {}, swatch, h("b", {}, count), ` ${label}`);
}
