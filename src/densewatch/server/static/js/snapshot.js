/**
 * A snapshot of an event, with its box drawn; as a thumbnail close to the object.
 * @module
 */

import { path } from "./api.js";
import { h } from "./dom.js";

/**
 * @typedef {object} KeptEvent
 * @property {string} id
 * @property {string} camera
 * @property {"presence" | "crossing"} kind
 * @property {string} label
 * @property {number} track
 * @property {string | null} zone
 * @property {"in" | "out" | null} direction
 * @property {number} start_time
 * @property {number | null} end_time
 * @property {number} top_score
 * @property {[number, number, number, number]} box shares of the picture
 * @property {boolean} has_snapshot
 */

const CLOSE = 0.5; // the object takes up this part of a thumbnail's side
const MOST_ZOOM = 6;

/**
 * @param {KeptEvent} event
 * @param {string} color of its class
 * @param {boolean} closeUp
 * @returns {HTMLElement}
 */
export function snapshot(event, color, closeUp) {
  if (!event.has_snapshot) return h("div", { class: "snapshot snapshot-none" }, "no picture");
  const [left, top, right, bottom] = event.box;
  const image = h("img", {
    alt: `${event.label}, score ${event.top_score.toFixed(2)}`,
    decoding: "async",
    loading: closeUp ? "lazy" : "eager",
  });
  const box = h("span", { class: "snapshot-box", "aria-hidden": "true", hidden: true });
  box.style.borderColor = color;
  const percent = (/** @type {number} */ share) => `${(share * 100).toFixed(2)}%`;
  Object.assign(box.style, {
    left: percent(left),
    top: percent(top),
    width: percent(right - left),
    height: percent(bottom - top),
  });
  const inner = h("div", { class: "snapshot-inner" }, image, box);
  const frame = h("div", { class: closeUp ? "snapshot snapshot-close" : "snapshot" }, inner);
  image.addEventListener("load", () => {
    box.hidden = false;
    const ratio = image.naturalWidth / image.naturalHeight;
    inner.style.aspectRatio = ratio.toFixed(4);
    inner.style.setProperty("--ratio", ratio.toFixed(4));
    if (closeUp) zoom(frame, inner, event.box, ratio);
  });
  image.addEventListener("error", () =>
    frame.replaceChildren(h("span", { class: "snapshot-none" }, "no picture")),
  );
  image.src = `api/v1/${path`events/${event.id}/snapshot.jpg`}`;
  return frame;
}

/**
 * @param {HTMLElement} frame whose aspect ratio CSS gives
 * @param {HTMLElement} inner as wide as the frame
 * @param {[number, number, number, number]} box
 * @param {number} ratio of the picture
 */
function zoom(frame, inner, [left, top, right, bottom], ratio) {
  const frameRatio = frame.clientWidth / Math.max(1, frame.clientHeight);
  const height = frameRatio / ratio; // of the picture, in heights of the frame, when both are equally wide
  const least = Math.max(1, 1 / height); // fills the frame
  const fit = Math.min(
    CLOSE / Math.max(0.001, right - left),
    CLOSE / Math.max(0.001, (bottom - top) * height),
  );
  const scale = Math.min(Math.max(fit, least), Math.max(MOST_ZOOM, least));
  const shift = (/** @type {number} */ middle, /** @type {number} */ side) =>
    Math.min(0, Math.max(1 - side * scale, 0.5 - middle * side * scale));
  const x = shift((left + right) / 2, 1) * 100;
  const y = (shift((top + bottom) / 2, height) / height) * 100;
  inner.style.transform = `translate(${x.toFixed(2)}%, ${y.toFixed(2)}%) scale(${scale.toFixed(3)})`;
  inner.style.setProperty("--zoom", scale.toFixed(3));
}
