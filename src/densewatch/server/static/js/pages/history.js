/**
 * What was counted: a chart with its gaps, the same as a table, and as a file.
 * @module
 */

import { address } from "../api.js";
import { gapsOf } from "../chart-parts.js";
import { countChart, crossingChart } from "../chart.js";
import { errorNote, field, h, select } from "../dom.js";
import { ask, questionQuery } from "../history-data.js";
import { hash, noteAddress } from "../router.js";
import { duration, fromInput, localTime, time, toInput } from "../times.js";
import { legend, valueText } from "./history-legend.js";

/** @typedef {import("../types.js").Camera} Camera */
/** @typedef {import("../chart.js").Grid} Grid */
/** @typedef {Awaited<ReturnType<typeof ask>>["lines"]} Lines */

/** @type {Array<[string, string, number]>} */
const RANGES = [
  ["1h", "1 hour", 3600],
  ["24h", "24 hours", 86_400],
  ["7d", "7 days", 604_800],
  ["custom", "Other", 0],
];
const REFRESH_MS = 60_000;
const MOST_SHOWN = 6; // at first; more lines than this confuse

/**
 * @param {import("../types.js").App} app
 * @param {import("../router.js").Route} route
 * @returns {Promise<import("../types.js").Page>}
 */
export async function historyPage(app, { query }) {
  /** @type {Camera[]} */
  const cameras = await app.api.get("cameras");
  const result = h("section", { class: "history-result", "aria-label": "Counts", "aria-live": "off" });
  const form = historyForm(cameras, query, () => load(true));
  /** @type {ReturnType<typeof draw> | null} */
  let drawn = null;
  let turn = 0;
  const load = async (/** @type {boolean} */ fresh) => {
    const question = form.read();
    if (!question) return;
    noteAddress(hash(["history"], form.address()));
    const mine = ++turn;
    if (fresh) result.setAttribute("aria-busy", "true");
    try {
      const answer = await ask(app.api, question, app.labels);
      if (mine !== turn) return;
      drawn?.close();
      const before = fresh ? null : drawn;
      drawn = draw(question, answer, before?.hidden ?? null);
      result.replaceChildren(...drawn.elements);
      drawn.redraw();
    } catch (error) {
      if (mine === turn) result.replaceChildren(errorNote(error));
    } finally {
      if (mine === turn) result.removeAttribute("aria-busy");
    }
  };
  const timer = window.setInterval(() => !document.hidden && form.isRolling() && load(false), REFRESH_MS);
  if (cameras.length) load(true);
  else result.append(h("p", { class: "note" }, "No camera is configured."));
  return {
    title: "History",
    element: h(
      "div",
      { class: "history-page" },
      h("div", { class: "page-head" }, h("h1", {}, "History")),
      form.element,
      result,
    ),
    close() {
      turn += 1;
      clearInterval(timer);
      drawn?.close();
    },
  };
}

/**
 * @param {Camera[]} cameras
 * @param {URLSearchParams} query
 * @param {() => void} onChange
 */
function historyForm(cameras, query, onChange) {
  const chosen = (/** @type {string} */ name) => query.get(name) ?? "";
  const camera = select(
    cameras.map(({ id, name }) => [id, name ?? id]),
    chosen("camera"),
  );
  const place = h("select");
  const label = h("select");
  const range = select(
    RANGES.map(([id, text]) => [id, text]),
    chosen("range") || (chosen("start") ? "custom" : "1h"),
  );
  const now = Date.now() / 1000;
  const start = h("input", {
    type: "datetime-local",
    value: toInput(Number(chosen("start")) || now - 86_400),
  });
  const end = h("input", { type: "datetime-local", value: toInput(Number(chosen("end")) || now) });
  const custom = h("div", { class: "row" }, field("From", start), field("To", end));
  const fillPlaces = (/** @type {string} */ wanted, /** @type {string} */ wantedLabel) => {
    const { zones, lines, labels } = cameras.find(({ id }) => id === camera.value) ?? {
      zones: {},
      lines: {},
      labels: /** @type {string[]} */ ([]),
    };
    const places = [
      h("option", { value: "" }, "whole picture"),
      ...Object.keys(zones).map((id) => h("option", { value: `zone/${id}` }, `zone ${id}`)),
      ...Object.keys(lines).map((id) => h("option", { value: `line/${id}` }, `line ${id} (crossings)`)),
    ];
    place.replaceChildren(...places);
    label.replaceChildren(
      h("option", { value: "" }, "all classes"),
      ...labels.map((name) => h("option", { value: name }, name)),
    );
    place.value = places.some((option) => option.value === wanted) ? wanted : "";
    label.value = labels.includes(wantedLabel) ? wantedLabel : "";
  };
  const zoneOrLine = chosen("zone")
    ? `zone/${chosen("zone")}`
    : chosen("line")
      ? `line/${chosen("line")}`
      : "";
  fillPlaces(zoneOrLine, chosen("label"));
  camera.addEventListener("change", () => fillPlaces("", label.value));
  const element = h(
    "form",
    { class: "panel controls", "aria-label": "Which counts" },
    field("Camera", camera),
    field("Where", place),
    field("Class", label),
    field("Time", range),
    custom,
  );
  element.addEventListener("submit", (event) => event.preventDefault());
  const showCustom = () => (custom.hidden = range.value !== "custom");
  showCustom();
  element.addEventListener("change", () => {
    showCustom();
    end.setCustomValidity(
      range.value === "custom" && !(fromInput(end.value) > fromInput(start.value))
        ? "The end must lie after the start."
        : "",
    );
    if (element.reportValidity()) onChange();
  });
  const where = () => ({
    camera: camera.value,
    zone: place.value.startsWith("zone/") ? place.value.slice(5) : "",
    line: place.value.startsWith("line/") ? place.value.slice(5) : "",
    label: label.value,
  });
  const times = () => {
    const length = RANGES.find(([id]) => id === range.value)?.[2];
    if (!length) return { start: fromInput(start.value), end: fromInput(end.value) };
    const until = Date.now() / 1000;
    return { start: until - length, end: until };
  };
  return {
    element,
    isRolling: () => range.value !== "custom",
    read: () => (element.checkValidity() && times().end > times().start ? { ...where(), ...times() } : null),
    address: () => ({ ...where(), range: range.value, ...(range.value === "custom" ? times() : {}) }),
  };
}

/**
 * @param {import("../history-data.js").Question} question
 * @param {{grid: Grid, lines: any}} answer
 * @param {Set<string> | null} hiddenBefore labels
 */
function draw(question, { grid, lines }, hiddenBefore) {
  const isCrossing = Boolean(question.line);
  const largest = [...lines].sort((a, b) => most(b) - most(a)).map(({ label }) => label);
  const hidden = hiddenBefore ?? new Set(largest.slice(MOST_SHOWN));
  const isShown = (/** @type {string} */ label) => !hidden.has(label);
  const key = legend(grid, lines, hidden, isCrossing, () => plot.redraw());
  const plot = (isCrossing ? crossingChart : countChart)(grid, lines, isShown, key.point);
  const { what, query } = questionQuery(question);
  const exportLink = (/** @type {string} */ format, /** @type {string} */ text) =>
    h("a", { href: address(`exports/${what}.${format}`, query), download: "" }, text);
  return {
    hidden,
    elements: [
      h("p", { class: "hint" }, sentence(question, grid, lines, isCrossing)),
      h("div", { class: "panel chart-panel" }, plot.element, key.element),
      h(
        "div",
        { class: "row links" },
        h("span", {}, "Download:"),
        exportLink("csv", "CSV"),
        exportLink("parquet", "Parquet"),
      ),
      dataTable(grid, lines, isCrossing),
    ],
    redraw: plot.redraw,
    close: plot.close,
  };
}

/** @param {Record<string, any>} line */
function most(line) {
  return Math.max(
    0,
    ...(line.mean ??
      line.entered.map(
        (/** @type {number | null} */ value, /** @type {number} */ index) =>
          (value ?? 0) + (line.left[index] ?? 0),
      )),
  );
}

/**
 * What the chart shows, in words.
 * @param {import("../history-data.js").Question} question
 * @param {Grid} grid
 * @param {Lines} lines
 * @param {boolean} isCrossing
 */
function sentence(question, grid, lines, isCrossing) {
  const what = isCrossing
    ? `Crossings of ${question.line}`
    : `Counts in ${question.zone || "the whole picture"}`;
  const bins = `by ${duration(grid.seconds)}, from ${localTime(grid.start, "short")} to ${localTime(grid.end, "short")}`;
  const gaps = gapsOf(grid);
  const lost = gaps.reduce((all, [from, to]) => all + to - from, 0);
  const missing = !gaps.length
    ? "No gaps."
    : `${gaps.length === 1 ? "One gap" : `${gaps.length} gaps`} without data, ${duration(lost)} in all.`;
  const seen = lines.length || lost === grid.times.length * grid.seconds ? "" : " Nothing was seen.";
  const shape = isCrossing ? "Bars: in above, out below." : "Line: mean; band: least to most.";
  return `${what} ${bins}. ${missing}${seen} ${shape}`;
}

/**
 * @param {Grid} grid
 * @param {Lines} lines
 * @param {boolean} isCrossing
 */
function dataTable(grid, lines, isCrossing) {
  const head = h(
    "tr",
    {},
    ["From", ...lines.map(({ label }) => label), "Observed"].map((text) => h("th", { scope: "col" }, text)),
  );
  const fill = () =>
    grid.times.map((start, index) =>
      h(
        "tr",
        grid.observed[index] === 0 ? { class: "no-data" } : {},
        h("th", { scope: "row" }, time(start, "short")),
        lines.map((line) => h("td", {}, valueText(line, index, isCrossing))),
        h("td", {}, grid.observed[index] === 0 ? "no data" : `${Math.round(grid.observed[index] * 100)} %`),
      ),
    );
  const body = h("tbody");
  const caption = isCrossing ? "Crossings in and out" : "Mean (least–most)";
  const table = h("table", { class: "data" }, h("caption", {}, caption), h("thead", {}, head), body);
  const details = h(
    "details",
    { class: "panel" },
    h("summary", {}, "The same as a table"),
    h("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-label": caption }, table),
  );
  details.addEventListener("toggle", () => body.replaceChildren(...(details.open ? fill() : [])));
  return details;
}
