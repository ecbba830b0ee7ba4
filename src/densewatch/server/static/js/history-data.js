/**
 * Counts and crossings of a range, brought onto one grid of time.
 * @module
 */

import { classColor } from "./colors.js";

/** @typedef {import("./chart.js").Grid} Grid */
/** @typedef {{camera: string, zone: string, line: string, label: string, start: number, end: number}} Question */
/** @typedef {{start_time: number, observed: number, [figure: string]: number | null}} Bin */

const MOST_BINS = 240;
const LENGTHS = [60, 300, 600, 900, 1800, 3600, 7200, 21_600, 86_400, 604_800];
const WRITTEN_AFTER_S = 15; // a bin is handed over when it is over, and takes a moment to be kept

/**
 * @param {number} seconds the length of a range
 * @returns {number} a length of bins that gives a legible chart
 */
export function binSeconds(seconds) {
  return LENGTHS.find((length) => seconds / length <= MOST_BINS) ?? LENGTHS[LENGTHS.length - 1];
}

/**
 * @param {Question} question
 * @returns {{what: "counts" | "crossings", query: Record<string, string | number>}}
 */
export function questionQuery({ camera, zone, line, label, start, end }) {
  const query = {
    camera,
    label,
    start: Math.floor(start),
    end: Math.ceil(end),
    seconds: binSeconds(end - start),
  };
  return line
    ? { what: "crossings", query: { ...query, line } }
    : { what: "counts", query: { ...query, zone } };
}

/**
 * @param {import("./api.js").Api} api
 * @param {Question} question
 * @param {string[]} labels the model's classes
 * @returns {Promise<{grid: Grid, lines: Array<{label: string, color: string, [figure: string]: any}>}>}
 */
export async function ask(api, question, labels) {
  const { what, query } = questionQuery(question);
  const answer = await api.get(what, query);
  /** @type {Array<{label: string, bins: Bin[]}>} */
  const series = answer.series;
  const now = Date.now() / 1000;
  /** @type {Bin[]} */
  const bins = answer.observed;
  const over = bins.filter(
    (bin) => bin.observed > 0 || bin.start_time + answer.seconds <= now - WRITTEN_AFTER_S,
  );
  const times = over.map((bin) => bin.start_time);
  const observed = over.map((bin) => bin.observed);
  const figures = what === "counts" ? ["minimum", "mean", "maximum"] : ["entered", "left"];
  const lines = series.map(({ label, bins: own }) => {
    const found = new Map(own.map((bin) => [bin.start_time, bin]));
    const columns = figures.map((figure) => [
      figure,
      times.map((start) => found.get(start)?.[figure] ?? null),
    ]);
    return { label, color: classColor(labels, label), ...Object.fromEntries(columns) };
  });
  const end = Math.max(question.end, (times.at(-1) ?? 0) + answer.seconds);
  const start = Math.min(question.start, times[0] ?? question.start);
  return { grid: { start, end, seconds: answer.seconds, times, observed }, lines };
}
