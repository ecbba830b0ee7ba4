/**
 * Points of zones, lines and masks: shares of the picture's width and height.
 * @module
 */

/** @typedef {import("../types.js").Point} Point */

/** @param {number} value */
function share(value) {
  return Math.round(Math.min(1, Math.max(0, value)) * 10_000) / 10_000;
}

/**
 * @param {number} x
 * @param {number} y
 * @returns {Point} within the picture, to a hundredth of a percent
 */
export function point(x, y) {
  return [share(x), share(y)];
}

/**
 * @param {Point} a
 * @param {Point} b
 * @returns {Point}
 */
export function middle(a, b) {
  return point((a[0] + b[0]) / 2, (a[1] + b[1]) / 2);
}

/**
 * @param {Point} a
 * @param {Point} b
 * @param {{width: number, height: number}} size
 * @returns {number} pixels
 */
export function distance(a, b, size) {
  return Math.hypot((a[0] - b[0]) * size.width, (a[1] - b[1]) * size.height);
}

/**
 * @param {Point} a
 * @param {Point} b
 * @param {Point} c
 * @returns {number} positive where a, b, c turn clockwise on the screen
 */
function turn(a, b, c) {
  return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
}

/**
 * @param {Point[]} points of a polygon
 * @returns {boolean} whether two of its edges cross, so that what is inside is hard to tell
 */
export function crossesItself(points) {
  const count = points.length;
  for (let i = 0; i < count; i += 1) {
    for (let j = i + 2; j < count; j += 1) {
      if (i === 0 && j === count - 1) continue; // neighbours share a point
      const [a, b, c, d] = [points[i], points[i + 1], points[j], points[(j + 1) % count]];
      if (turn(a, b, c) * turn(a, b, d) < 0 && turn(c, d, a) * turn(c, d, b) < 0) return true;
    }
  }
  return false;
}
