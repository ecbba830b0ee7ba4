/**
 * Times in the viewer's zone; UTC when one hovers.
 * @module
 */

import { h } from "./dom.js";

const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const short = new Intl.DateTimeFormat(undefined, { dateStyle: "short", timeStyle: "short" });

/** @returns {string} such as "Europe/Berlin (GMT+2)" */
export function zoneName() {
  const offset = new Intl.DateTimeFormat("en", { timeZoneName: "shortOffset" })
    .formatToParts(new Date())
    .find((part) => part.type === "timeZoneName")?.value;
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return offset && zone !== "UTC" ? `${zone} (${offset})` : zone;
}

/**
 * @param {number} seconds Unix
 * @returns {string}
 */
export function utc(seconds) {
  return `${new Date(seconds * 1000).toISOString().replace("T", " ").slice(0, 19)} UTC`;
}

/**
 * @param {number} seconds Unix
 * @param {"day" | "clock" | "short"} [style]
 * @returns {string}
 */
export function localTime(seconds, style = "day") {
  return { day, clock, short }[style].format(seconds * 1000);
}

/**
 * @param {number} seconds Unix
 * @param {"day" | "clock" | "short"} [style]
 * @returns {HTMLTimeElement}
 */
export function time(seconds, style = "day") {
  const exact = new Date(seconds * 1000).toISOString();
  return h("time", { datetime: exact, title: utc(seconds) }, localTime(seconds, style));
}

/**
 * @param {number} seconds a length of time
 * @returns {string} such as "45 s", "3 min 20 s", "2 h 5 min", "3 d 4 h"
 */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const parts = /** @type {Array<[number, string]>} */ ([
    [Math.floor(whole / 86400), "d"],
    [Math.floor((whole % 86400) / 3600), "h"],
    [Math.floor((whole % 3600) / 60), "min"],
    [whole % 60, "s"],
  ]);
  const first = parts.findIndex(([value]) => value > 0);
  if (first < 0) return "0 s";
  return parts
    .slice(first, first + 2)
    .filter(([value]) => value > 0)
    .map(([value, unit]) => `${value} ${unit}`)
    .join(" ");
}

/**
 * @param {number} ms the age of a picture
 * @returns {string}
 */
export function age(ms) {
  return ms < 10_000 ? `${Math.round(ms)} ms` : duration(ms / 1000);
}

/**
 * @param {number} seconds Unix
 * @returns {string} for an input of type datetime-local
 */
export function toInput(seconds) {
  const date = new Date(seconds * 1000);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/**
 * @param {string} value of an input of type datetime-local
 * @returns {number} Unix seconds; NaN where it is empty
 */
export function fromInput(value) {
  return new Date(value).getTime() / 1000;
}
