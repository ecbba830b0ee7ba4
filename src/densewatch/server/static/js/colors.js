/**
 * Colours of classes: those of annotated pictures (imaging/draw.py), so that a class looks alike everywhere.
 * @module
 */

export const INK = "#10141a";

export const COLORS = [
  "#3fb6ff",
  "#ff9f1c",
  "#ffe14d",
  "#ff5d73",
  "#c58bff",
  "#7c9cff",
  "#2fe0c8",
  "#ff8bd1",
  "#a4c639",
  "#ff7043",
  "#5fe35f",
  "#e8c39e",
  "#00d4ff",
  "#d4f04a",
  "#ff6ef2",
  "#9be7a0",
  "#f4a7a7",
  "#b0bec5",
  "#ffc400",
  "#64ffda",
  "#d7a9ff",
  "#ffb38a",
  "#f2f2f2",
];

/**
 * @param {string[]} labels the model's classes in their order
 * @param {string} label
 * @returns {string}
 */
export function classColor(labels, label) {
  return COLORS[Math.max(0, labels.indexOf(label)) % COLORS.length];
}
