/**
 * What runs, whether it is well, and each camera's figures.
 * @module
 */

import { errorNote, h } from "../dom.js";
import { hash } from "../router.js";
import { age, duration, time } from "../times.js";

const REFRESH_MS = 5000;

/**
 * @param {number} bytes
 * @returns {string}
 */
function size(bytes) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let value = bytes;
  while (value >= 1000 && units.length > 1) {
    value /= 1000;
    units.shift();
  }
  return `${value >= 100 || units[0] === "B" ? Math.round(value) : value.toFixed(1)} ${units[0]}`;
}

/** @param {Record<string, number>} figures */
function figures(figures) {
  return (
    Object.entries(figures)
      .filter(([, count]) => count)
      .map(([why, count]) => `${why} ${count}`)
      .join(", ") || "–"
  );
}

/**
 * @param {boolean} good
 * @param {string} text
 */
function light(good, text) {
  return h("span", { class: "badge", "data-state": good ? "live" : "lost" }, text);
}

/** @param {Array<[string, import("../dom.js").Children]>} rows */
function facts(rows) {
  return h(
    "dl",
    { class: "facts" },
    rows.flatMap(([term, text]) => [h("dt", {}, term), h("dd", {}, text)]),
  );
}

/**
 * The server's readiness lies outside the API: it is public.
 * @returns {Promise<{ready: boolean, model: boolean, store: boolean}>}
 */
async function readiness() {
  return (await fetch("readyz", { cache: "no-store" })).json();
}

/**
 * @param {import("../types.js").App} app
 * @returns {Promise<import("./settings.js").Tab>}
 */
export async function stateTab(app) {
  const overview = h("div", { class: "state-panels" });
  const body = h("tbody");
  const heads = ["Camera", "State", "Age", "In/s", "Out/s", "Left out", "Reconnected", "Source"];
  const table = h(
    "table",
    { class: "data" },
    h("caption", { class: "visually-hidden" }, "Cameras"),
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        heads.map((text) => h("th", { scope: "col" }, text)),
      ),
    ),
    body,
  );
  const showCameras = () => {
    body.replaceChildren(
      ...[...app.live.statuses.values()].map((status) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, h("a", { href: hash(["camera", status.id]) }, status.id)),
          h(
            "td",
            {},
            h("span", { class: "badge", "data-state": status.state }, status.state),
            ` ${duration(Date.now() / 1000 - status.since)}`,
          ),
          h("td", {}, status.age_ms === null ? "no data" : age(status.age_ms)),
          h("td", {}, status.fps_in.toFixed(1)),
          h("td", {}, status.fps_out.toFixed(1)),
          h("td", {}, figures(status.dropped)),
          h("td", {}, figures(status.reconnects)),
          h(
            "td",
            { class: "wrap" },
            status.address,
            status.error && h("div", { class: "hint" }, status.error),
          ),
        ),
      ),
    );
  };
  const refresh = async () => {
    try {
      const [system, ready] = await Promise.all([app.api.get("system"), readiness()]);
      overview.replaceChildren(...panels(system, ready));
    } catch (error) {
      overview.replaceChildren(errorNote(error));
    }
  };
  await refresh();
  showCameras();
  const timer = window.setInterval(() => {
    // A table that is built anew would take the focus away from who is in it.
    if (!document.hidden && !table.contains(document.activeElement)) showCameras();
    if (!document.hidden) refresh();
  }, REFRESH_MS);
  const onStatus = () => !body.childElementCount && showCameras();
  app.live.addEventListener("status", onStatus);
  return {
    element: h(
      "div",
      {},
      overview,
      h(
        "section",
        { class: "panel" },
        h("h2", {}, "Cameras"),
        h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Cameras" }, table),
      ),
    ),
    close() {
      clearInterval(timer);
      app.live.removeEventListener("status", onStatus);
    },
  };
}

/**
 * @param {Record<string, any>} system
 * @param {{ready: boolean, model: boolean, store: boolean}} ready
 * @returns {HTMLElement[]}
 */
function panels(system, ready) {
  const panel = (/** @type {string} */ title, /** @type {HTMLElement} */ content) =>
    h("section", { class: "panel" }, h("h2", {}, title), content);
  const since = system.since
    ? [time(system.since), `, for ${duration(Date.now() / 1000 - system.since)}`]
    : "not yet";
  const { writer, disk } = system;
  return [
    panel(
      "Service",
      facts([
        ["Ready", light(ready.ready, ready.ready ? "ready" : "not ready")],
        [
          "Model",
          [
            light(ready.model, ready.model ? "loaded" : "not loaded"),
            ` ${system.model}, ${system.labels.length} classes`,
          ],
        ],
        ["Version", system.version],
        ["Since", since],
        ["Viewers", String(system.viewers)],
        ["Threads", String(system.threads)],
      ]),
    ),
    panel(
      "Recording",
      facts([
        ["Store", light(ready.store, ready.store ? "can be written" : "cannot be written")],
        [
          "Writer",
          [light(writer.state === "ok", writer.state.replaceAll("_", " ")), " since ", time(writer.since)],
        ],
        ...(writer.error ? [/** @type {[string, string]} */ (["Error", writer.error])] : []),
        ["Last write", writer.last_write === null ? "none yet" : time(writer.last_write)],
        ["Waiting", String(writer.queued)],
        ["Lost", figures(writer.dropped)],
        ["Disk", disk ? `${size(disk.free_bytes)} free of ${size(disk.total_bytes)}` : "unknown"],
      ]),
    ),
  ];
}
