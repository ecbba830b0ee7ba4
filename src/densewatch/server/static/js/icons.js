/**
 * The few signs that the pages use, as strokes on a grid of 24.
 * @module
 */

import { s } from "./dom.js";

const PATHS = {
  wall: "M4 5h7v6H4zM13 5h7v6h-7zM4 13h7v6H4zM13 13h7v6h-7z",
  history: "M4 4v16h16M7 15l4-5 3 3 5-7",
  events: "M9 6h11M9 12h11M9 18h11M4 6h1M4 12h1M4 18h1",
  settings: "M4 7h9M17 7h3M4 17h3M11 17h9M15 5v4M9 15v4",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8M12 2v3M12 19v3M2 12h3M19 12h3M5 5l2 2M17 17l2 2M19 5l-2 2M7 17l-2 2",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z",
  leave: "M14 4h5v16h-5M4 12h11M11 8l4 4-4 4",
  filter: "M4 5h16l-6 8v6l-4-2v-4z",
};

/**
 * @param {keyof typeof PATHS} name
 * @returns {SVGElement} hidden from screen readers: the text beside it says the same
 */
export function icon(name) {
  return s(
    "svg",
    { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" },
    s("path", { d: PATHS[name] }),
  );
}
