/**
 * Boxes on a canvas: labels where they hide no other label, the best scores first.
 * @module
 */

import { INK, classColor } from "./colors.js";

/** @typedef {import("./types.js").Detection} Detection */
/** @typedef {{left: number, top: number, right: number, bottom: number}} Rectangle */

const DENSE_OBJECTS = 25; // more than this get smaller labels

/**
 * @param {Detection} detection
 * @returns {boolean} false while the tracker is not yet sure of it: it is drawn, but not counted
 */
export function isSure(detection) {
  return detection.track !== -1;
}

/**
 * @param {Detection} detection
 * @returns {string}
 */
export function caption(detection) {
  const track = detection.track !== undefined && isSure(detection) ? ` #${detection.track}` : "";
  return `${detection.label} ${detection.score.toFixed(2)}${track}`;
}

/**
 * Draw boxes over a picture that fills the canvas.
 * @param {CanvasRenderingContext2D} context
 * @param {Detection[]} detections
 * @param {string[]} labels the model's classes in their order
 * @param {number} scale canvas pixels per pixel of the frame
 * @param {number} density canvas pixels per CSS pixel
 */
export function drawBoxes(context, detections, labels, scale, density) {
  const line = Math.max(1.25, Math.min(2.5, context.canvas.width / density / 320)) * density;
  const strongestLast = [...detections].sort((a, b) => a.score - b.score);
  for (const [width, shade] of /** @type {Array<[number, boolean]>} */ ([
    [line + 2 * density, true],
    [line, false],
  ])) {
    context.lineWidth = width;
    for (const detection of strongestLast) {
      const [left, top, right, bottom] = detection.box.map((value) => value * scale);
      context.globalAlpha = shade ? 0.6 : 1;
      context.strokeStyle = shade ? INK : classColor(labels, detection.label);
      context.setLineDash(isSure(detection) ? [] : [line * 3, line * 2]);
      context.strokeRect(left, top, right - left, bottom - top);
    }
  }
  context.globalAlpha = 1;
  context.setLineDash([]);
  drawLabels(context, strongestLast.reverse(), labels, scale, density);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Detection[]} detections best first
 * @param {string[]} labels
 * @param {number} scale
 * @param {number} density
 */
function drawLabels(context, detections, labels, scale, density) {
  const font = (detections.length > DENSE_OBJECTS ? 10 : 12) * density;
  context.font = `600 ${font}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  /** @type {Array<[Detection, Rectangle]>} */
  const placed = [];
  for (const detection of detections) {
    const width = context.measureText(caption(detection)).width + font * 0.7;
    const place = findPlace(detection, width, font * 1.4, scale, context.canvas, placed);
    if (place) placed.push([detection, place]);
  }
  if (placed.length < detections.length / 2) return; // a few labels among many boxes only confuse
  for (const [detection, { left, top, right, bottom }] of placed) {
    context.fillStyle = classColor(labels, detection.label);
    context.fillRect(left, top, right - left, bottom - top);
    context.fillStyle = INK;
    context.fillText(caption(detection), left + font * 0.35, (top + bottom) / 2);
  }
}

/**
 * @param {Detection} detection
 * @param {number} width
 * @param {number} height
 * @param {number} scale
 * @param {{width: number, height: number}} canvas
 * @param {Array<[Detection, Rectangle]>} placed
 * @returns {Rectangle | null} above the box, or inside it, or below; null where all would hide a label
 */
function findPlace(detection, width, height, scale, canvas, placed) {
  const [boxLeft, boxTop, , boxBottom] = detection.box.map((value) => value * scale);
  const left = Math.max(0, Math.min(boxLeft, canvas.width - width));
  for (const top of [boxTop - height, boxTop, boxBottom]) {
    if (top < 0 || top + height > canvas.height) continue;
    const place = { left, top, right: left + width, bottom: top + height };
    if (!placed.some(([, other]) => overlap(place, other))) return place;
  }
  return null;
}

/**
 * @param {Rectangle} a
 * @param {Rectangle} b
 */
function overlap(a, b) {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}
