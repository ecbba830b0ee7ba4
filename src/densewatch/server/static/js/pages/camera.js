/**
 * One camera: a large picture, what is in it now, its zones and lines.
 * @module
 */

import { path } from "../api.js";
import { CameraView } from "../camera-view.js";
import { h } from "../dom.js";
import { caption, isSure } from "../draw.js";
import { EditorPanel } from "../editor/panel.js";
import { filterBar } from "../filter-bar.js";
import { hash } from "../router.js";
import { countsText } from "../tally.js";
import { duration } from "../times.js";
import { announceStates } from "./wall.js";

const REFRESH_MS = 500;
const MOST_ROWS = 300; // a table with more is read by nobody

/** @typedef {import("../types.js").Result} Result */

/**
 * @param {import("../types.js").App} app
 * @param {import("../router.js").Route} route
 * @returns {Promise<import("../types.js").Page>}
 */
export async function cameraPage(app, route) {
  /** @type {import("../types.js").Camera} */
  const camera = await app.api.get(path`cameras/${route.parts[0] ?? ""}`);
  const name = camera.name ?? camera.id;
  const view = new CameraView(app, camera);
  announceStates(view);
  const now = nowPanel(view);
  const objects = objectsPanel(view);
  const facts = factsPanel(app, camera.id);
  const editor = app.may("operator") ? new EditorPanel(app, view) : null;
  const refresh = () => [now, objects, facts].forEach((panel) => panel.refresh());
  const timer = window.setInterval(refresh, REFRESH_MS);
  view.addEventListener("first", refresh);
  const links = h(
    "p",
    { class: "links" },
    h("a", { href: hash(["history"], { camera: camera.id }) }, "History"),
    h("a", { href: hash(["events"], { camera: camera.id }) }, "Events"),
  );
  const element = h(
    "div",
    { class: "camera-page" },
    h(
      "div",
      { class: "page-head" },
      h("a", { class: "back", href: "#/wall" }, "Cameras"),
      h("h1", {}, name),
      view.badge,
      view.ageText,
      links,
    ),
    h(
      "div",
      { class: "camera-columns" },
      h(
        "div",
        { class: "camera-main" },
        h("div", { class: "stage" }, view.element),
        view.tally,
        filterBar(app.view, camera.labels),
        objects.element,
      ),
      h("div", { class: "camera-side" }, editor?.element, now.element, facts.element),
    ),
  );
  return {
    title: name,
    element,
    close() {
      clearInterval(timer);
      editor?.close();
      view.close();
    },
  };
}

/**
 * @param {CameraView} view
 * @returns {Result | null} what is so now; null where there is no data
 */
function current(view) {
  return view.available.hasData ? (view.shown?.result ?? null) : null;
}

/** @param {CameraView} view */
function nowPanel(view) {
  const zones = h("tbody");
  const lines = h("tbody");
  const zoneTable = table("Zones now", ["Zone", "In it", "Longest"], zones);
  const lineTable = table("Lines, since the start", ["Line", "In", "Out"], lines);
  const note = h("p", { class: "hint" }, "As the site counts, whatever score and classes you look at.");
  const element = h("section", { class: "panel", "aria-label": "Zones now" }, zoneTable, lineTable, note);
  let drawn = "";
  const refresh = () => {
    const result = current(view);
    const { camera } = view;
    const rows = [
      Object.keys(camera.zones).map((id) => [id, ...zoneCells(result, id)]),
      Object.keys(camera.lines).map((id) => {
        const line = result?.lines[id];
        return line ? [id, String(line.in ?? 0), String(line.out ?? 0)] : [id, "no data", "no data"];
      }),
    ];
    const key = JSON.stringify(rows);
    if (key === drawn) return;
    drawn = key;
    [zones, lines].forEach((body, index) => body.replaceChildren(...rows[index].map(tableRow)));
    zoneTable.hidden = rows[0].length === 0;
    lineTable.hidden = rows[1].length === 0;
    element.hidden = rows.every((part) => part.length === 0);
  };
  refresh();
  return { element, refresh };
}

/**
 * @param {Result | null} result
 * @param {string} id
 * @returns {string[]} what is in a zone, and how long the object has been there that came first
 */
function zoneCells(result, id) {
  const zone = result?.zones[id];
  if (!zone) return ["no data", ""];
  const dwell = Object.values(zone.dwell_s);
  const longest = dwell.length ? duration(Math.max(...dwell)) : "";
  const bay = zone.taken === null ? "" : zone.taken ? "taken" : "free";
  return [bay || countsText(zone.counts) || "nothing", longest];
}

/**
 * Every object as text: what the canvas shows, for those who cannot see it.
 * @param {CameraView} view
 */
function objectsPanel(view) {
  const body = h("tbody");
  const summary = h("summary", {}, "Objects");
  const element = h(
    "details",
    { class: "panel objects" },
    summary,
    table("Objects in the picture", ["Object", "Score", "Across", "Down", "Zones"], body),
  );
  const refresh = () => {
    const result = current(view);
    const objects = view.app.view.apply(result?.detections ?? []);
    summary.textContent = result
      ? `Objects: ${objects.length}${result.saturated ? " or more" : ""}`
      : "Objects: no data";
    if (!element.open) return;
    body.replaceChildren(
      ...(result ? objects.slice(0, MOST_ROWS).map((item) => tableRow(objectCells(result, item))) : []),
    );
  };
  element.addEventListener("toggle", refresh);
  refresh();
  return { element, refresh };
}

/**
 * @param {Result} result
 * @param {import("../types.js").Detection} item
 * @returns {string[]}
 */
function objectCells(result, item) {
  const [left, top, right, bottom] = item.box;
  const within = Object.entries(result.zones).filter(([, zone]) => String(item.track) in zone.dwell_s);
  return [
    isSure(item) ? caption(item).replace(/ [\d.]+( #|$)/, "$1") : `${item.label} (not yet sure)`,
    item.score.toFixed(2),
    `${(((left + right) / 2 / result.width) * 100).toFixed(1)} %`,
    `${(((top + bottom) / 2 / result.height) * 100).toFixed(1)} %`,
    within.map(([id]) => id).join(", "),
  ];
}

/**
 * @param {import("../types.js").App} app
 * @param {string} id
 */
function factsPanel(app, id) {
  const list = h("dl", { class: "facts" });
  let drawn = "";
  const refresh = () => {
    const status = app.live.statuses.get(id);
    if (!status) return;
    const by = (/** @type {Record<string, number>} */ figures) =>
      Object.entries(figures)
        .filter(([, count]) => count)
        .map(([why, count]) => `${why} ${count}`)
        .join(", ") || "none";
    const rows = [
      ["Source", status.address],
      ["State", `${status.state}, for ${duration(Date.now() / 1000 - status.since)}`],
      ["Picture", status.size ? `${status.size[1]} × ${status.size[0]}` : "unknown"],
      ["Frames a second", `${status.fps_in.toFixed(1)} in, ${status.fps_out.toFixed(1)} looked at`],
      ["Left out", by(status.dropped)],
      ["Reconnected", by(status.reconnects)],
      ...(status.error ? [["Error", status.error]] : []),
    ];
    const key = JSON.stringify(rows);
    if (key === drawn) return;
    drawn = key;
    list.replaceChildren(...rows.flatMap(([term, text]) => [h("dt", {}, term), h("dd", {}, text)]));
  };
  refresh();
  return { element: h("details", { class: "panel" }, h("summary", {}, "Source and figures"), list), refresh };
}

/**
 * @param {string} caption
 * @param {string[]} heads
 * @param {HTMLElement} body
 * @returns {HTMLElement}
 */
function table(caption, heads, body) {
  const head = h(
    "tr",
    {},
    heads.map((text) => h("th", { scope: "col" }, text)),
  );
  return h("div", { class: "scroll" }, h("table", {}, h("caption", {}, caption), h("thead", {}, head), body));
}

/** @param {string[]} cells */
function tableRow([first, ...rest]) {
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, first),
    rest.map((text) => h("td", {}, text)),
  );
}
