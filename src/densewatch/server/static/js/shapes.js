/**
 * Zones, lines and masks drawn over a picture, as SVG in CSS pixels.
 * @module
 */

import { s } from "./dom.js";

/** @typedef {import("./types.js").Point} Point */
/** @typedef {{width: number, height: number}} Size */

/**
 * @param {Point[]} points shares of the picture
 * @param {Size} size CSS pixels
 * @returns {string} for the attribute `points`
 */
export function pixelPoints(points, size) {
  return points.map(([x, y]) => `${(x * size.width).toFixed(1)},${(y * size.height).toFixed(1)}`).join(" ");
}

/**
 * Who looks from `start` to `end` sees `in` go to the right.
 * @param {Point} start
 * @param {Point} end
 * @param {Size} size
 * @param {number} length of the arrow, px
 * @returns {{from: Point, to: Point}} pixels
 */
export function inArrow(start, end, size, length) {
  const dx = (end[0] - start[0]) * size.width;
  const dy = (end[1] - start[1]) * size.height;
  const norm = Math.hypot(dx, dy) || 1;
  /** @type {Point} */
  const from = [((start[0] + end[0]) / 2) * size.width, ((start[1] + end[1]) / 2) * size.height];
  return { from, to: [from[0] - (dy / norm) * length, from[1] + (dx / norm) * length] };
}

/**
 * @param {Point} from pixels
 * @param {Point} to pixels
 * @returns {SVGElement}
 */
export function arrow(from, to) {
  const angle = Math.atan2(to[1] - from[1], to[0] - from[0]);
  const head = [2.6, -2.6].map((turn) => {
    const x = to[0] + 9 * Math.cos(angle + turn);
    return `M${to[0].toFixed(1)} ${to[1].toFixed(1)}L${x.toFixed(1)} ${(to[1] + 9 * Math.sin(angle + turn)).toFixed(1)}`;
  });
  const shaft = `M${from[0].toFixed(1)} ${from[1].toFixed(1)}L${to[0].toFixed(1)} ${to[1].toFixed(1)}`;
  return s("path", { d: shaft + head.join(""), class: "shape-arrow" });
}

/**
 * A light line on a dark one, to be seen on any picture.
 * @param {Point[]} corners
 * @param {Size} size
 * @returns {SVGElement[]}
 */
function outline(corners, size) {
  const points = pixelPoints(corners, size);
  return [s("polygon", { points, class: "under" }), s("polygon", { points })];
}

/**
 * @param {number} x px
 * @param {number} y px
 * @param {string} text
 * @returns {SVGElement}
 */
function tag(x, y, text) {
  return s("text", { x: x.toFixed(1), y: y.toFixed(1), class: "shape-name" }, text);
}

/**
 * Text at the tip of an arrow, where it hides neither the arrow nor the line.
 * @param {Point} from pixels
 * @param {Point} to pixels
 * @param {Size} size
 * @param {string} text
 * @returns {SVGElement}
 */
export function arrowTag(from, to, size, text) {
  const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
  const aside = Math.abs(dx) > Math.abs(dy) / 2;
  const element = tag(
    to[0] + (aside ? Math.sign(dx) * 6 : 0),
    Math.max(12, Math.min(size.height - 6, to[1] + (aside ? 4 : dy > 0 ? 16 : -8))),
    text,
  );
  element.setAttribute("text-anchor", aside ? (dx > 0 ? "start" : "end") : "middle");
  return element;
}

/**
 * @param {string} id
 * @param {import("./types.js").Zone} zone
 * @param {Size} size
 * @param {string} text beside the name, such as its counts
 * @returns {SVGElement}
 */
export function zoneShape(id, zone, size, text) {
  const left = Math.min(...zone.points.map(([x]) => x)) * size.width;
  const [x, y] = zone.points.reduce((best, point) => (point[1] < best[1] ? point : best));
  const at = Math.min(Math.max(left, x * size.width - 20), size.width - 60);
  return s(
    "g",
    { class: "shape shape-zone", "data-zone": id },
    ...outline(zone.points, size),
    tag(at + 4, Math.min(size.height - 6, y * size.height + 15), text ? `${id}: ${text}` : id),
  );
}

/**
 * @param {string} id
 * @param {import("./types.js").Line} line
 * @param {Size} size
 * @param {string} text
 * @returns {SVGElement}
 */
export function lineShape(id, line, size, text) {
  const { from, to } = inArrow(line.start, line.end, size, 30);
  const [x1, y1, x2, y2] = [...line.start, ...line.end];
  const ends = { x1: x1 * size.width, y1: y1 * size.height, x2: x2 * size.width, y2: y2 * size.height };
  return s(
    "g",
    { class: "shape shape-line", "data-line": id },
    s("line", { ...ends, class: "under" }),
    s("line", ends),
    arrow(from, to),
    arrowTag(from, to, size, text ? `${id}: ${text}` : `${id}: in`),
  );
}

/**
 * @param {Point[]} points
 * @param {Size} size
 * @returns {SVGElement}
 */
export function maskShape(points, size) {
  return s("g", { class: "shape shape-mask" }, ...outline(points, size));
}
