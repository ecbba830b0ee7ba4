/**
 * Events: what came, went, or went over a line; with a picture of each.
 * @module
 */

import { address } from "../api.js";
import { classColor } from "../colors.js";
import { announce, errorNote, field, h, select } from "../dom.js";
import { hash, noteAddress } from "../router.js";
import { snapshot } from "../snapshot.js";
import { duration, fromInput, time, toInput } from "../times.js";
import { allLabels } from "./wall.js";

/** @typedef {import("../snapshot.js").KeptEvent} KeptEvent */
/** @typedef {import("../types.js").Camera} Camera */

const PAGE = 48;

/**
 * @param {import("../types.js").App} app
 * @param {import("../router.js").Route} route
 * @returns {Promise<import("../types.js").Page>}
 */
export async function eventsPage(app, { query }) {
  /** @type {Camera[]} */
  const cameras = await app.api.get("cameras");
  const form = eventsForm(cameras, query, () => load(null));
  const list = h("ul", { class: "events" });
  const more = h("button", { type: "button", class: "wide", hidden: true }, "Older events");
  const notes = h("div");
  const exports = h("p", { class: "row links" });
  const viewer = eventViewer(app, cameras, () => shown);
  /** @type {KeptEvent[]} */
  let shown = [];
  /** @type {string | null} */
  let next = null;
  let turn = 0;
  const load = async (/** @type {string | null} */ before) => {
    const mine = ++turn;
    const asked = form.read();
    noteAddress(hash(["events"], asked));
    notes.replaceChildren();
    more.disabled = true;
    try {
      const answer = await app.api.get("events", { ...asked, limit: PAGE, before });
      if (mine !== turn) return;
      const cards = answer.events.map((/** @type {KeptEvent} */ event) =>
        eventCard(app, cameras, event, viewer.open),
      );
      shown = before ? [...shown, ...answer.events] : answer.events;
      next = answer.next;
      if (before) list.append(...cards);
      else list.replaceChildren(...cards);
      if (before) cards[0]?.querySelector("button")?.focus();
      if (!shown.length) notes.replaceChildren(h("p", { class: "note" }, "No event fits."));
      announce(`${shown.length} events${next ? ", there are older ones" : ""}`);
      more.hidden = next === null;
      exports.replaceChildren(
        "Download:",
        h("a", { href: address("exports/events.csv", asked), download: "" }, "CSV"),
        h("a", { href: address("exports/events.parquet", asked), download: "" }, "Parquet"),
      );
    } catch (error) {
      if (mine === turn) notes.replaceChildren(errorNote(error));
    } finally {
      if (mine === turn) more.disabled = false;
    }
  };
  more.addEventListener("click", () => load(next));
  load(null);
  const again = h("button", { type: "button", onclick: () => load(null) }, "Refresh");
  return {
    title: "Events",
    element: h(
      "div",
      { class: "events-page" },
      h("div", { class: "page-head" }, h("h1", {}, "Events"), again, exports),
      form.element,
      notes,
      list,
      more,
      viewer.element,
    ),
    close: () => {
      turn += 1;
    },
  };
}

/**
 * @param {Camera[]} cameras
 * @param {URLSearchParams} query
 * @param {() => void} onChange
 */
function eventsForm(cameras, query, onChange) {
  const chosen = (/** @type {string} */ name) => query.get(name) ?? "";
  const all = (/** @type {string} */ text) => /** @type {[string, string]} */ (["", text]);
  const camera = select(
    [
      all("all cameras"),
      ...cameras.map(({ id, name }) => /** @type {[string, string]} */ ([id, name ?? id])),
    ],
    chosen("camera"),
  );
  const zone = h("select");
  const label = select(
    [all("all classes"), ...allLabels(cameras).map((name) => /** @type {[string, string]} */ ([name, name]))],
    chosen("label"),
  );
  const kind = select(
    [all("all kinds"), ["presence", "came and went"], ["crossing", "went over a line"]],
    chosen("kind"),
  );
  const start = h("input", {
    type: "datetime-local",
    value: chosen("start") ? toInput(Number(chosen("start"))) : "",
  });
  const end = h("input", {
    type: "datetime-local",
    value: chosen("end") ? toInput(Number(chosen("end"))) : "",
  });
  const fillZones = (/** @type {string} */ wanted) => {
    const some = cameras.filter(({ id }) => !camera.value || id === camera.value);
    const ids = [
      ...new Set(some.flatMap(({ zones, lines }) => [...Object.keys(zones), ...Object.keys(lines)])),
    ];
    zone.replaceChildren(
      h("option", { value: "" }, "everywhere"),
      ...ids.map((id) => h("option", { value: id }, id)),
    );
    zone.value = ids.includes(wanted) ? wanted : "";
  };
  fillZones(chosen("zone"));
  camera.addEventListener("change", () => fillZones(""));
  const element = h(
    "form",
    { class: "panel controls", "aria-label": "Which events" },
    field("Camera", camera),
    field("Zone or line", zone),
    field("Class", label),
    field("Kind", kind),
    field("From", start),
    field("To", end),
  );
  element.addEventListener("submit", (event) => event.preventDefault());
  element.addEventListener("change", onChange);
  const seconds = (/** @type {HTMLInputElement} */ input) => (input.value ? fromInput(input.value) : "");
  return {
    element,
    read: () => ({
      camera: camera.value,
      zone: zone.value,
      label: label.value,
      kind: kind.value,
      start: seconds(start),
      end: seconds(end),
    }),
  };
}

/**
 * @param {KeptEvent} event
 * @returns {string}
 */
function headline(event) {
  if (event.kind === "crossing") return `${event.label} went ${event.direction} over ${event.zone}`;
  return event.zone ? `${event.label} in ${event.zone}` : `${event.label} in view`;
}

/** @param {KeptEvent} event */
function lasted(event) {
  if (event.kind === "crossing") return "";
  return event.end_time === null ? "still there" : duration(event.end_time - event.start_time);
}

/**
 * @param {Camera[]} cameras
 * @param {string} id
 */
function cameraName(cameras, id) {
  return cameras.find((camera) => camera.id === id)?.name ?? id;
}

/**
 * @param {import("../types.js").App} app
 * @param {Camera[]} cameras
 * @param {KeptEvent} event
 * @param {(event: KeptEvent) => void} open
 */
function eventCard(app, cameras, event, open) {
  const color = classColor(app.labels, event.label);
  const button = h(
    "button",
    { type: "button", class: "event-open", onclick: () => open(event) },
    snapshot(event, color, true),
    h("span", { class: "event-head" }, headline(event)),
  );
  return h(
    "li",
    { class: "event panel", "data-event": event.id },
    button,
    h(
      "p",
      { class: "event-text" },
      h("span", {}, cameraName(cameras, event.camera), lasted(event) && ` · ${lasted(event)}`),
      h("span", {}, time(event.start_time)),
    ),
  );
}

/**
 * The larger view; arrow keys go to the next event.
 * @param {import("../types.js").App} app
 * @param {Camera[]} cameras
 * @param {() => KeptEvent[]} all
 */
function eventViewer(app, cameras, all) {
  const body = h("div");
  const close = h("button", { type: "button", onclick: () => element.close() }, "Close");
  const newer = h("button", { type: "button", onclick: () => go(-1) }, "Newer");
  const older = h("button", { type: "button", onclick: () => go(1) }, "Older");
  const element = h(
    "dialog",
    { class: "event-view", "aria-label": "Event" },
    body,
    h("div", { class: "row" }, newer, older, h("span", { class: "push" }, close)),
  );
  let index = 0;
  const show = () => {
    const events = all();
    const event = events[index];
    if (!event) return;
    newer.disabled = index === 0;
    older.disabled = index === events.length - 1;
    const rows = /** @type {Array<[string, import("../dom.js").Child]>} */ ([
      ["Camera", h("a", { href: hash(["camera", event.camera]) }, cameraName(cameras, event.camera))],
      ["From", time(event.start_time)],
      ...(event.kind === "presence"
        ? [["To", event.end_time === null ? "still there" : time(event.end_time)]]
        : []),
      ["Best score", event.top_score.toFixed(2)],
      ["Track", `#${event.track}`],
    ]);
    body.replaceChildren(
      h("h2", {}, headline(event)),
      snapshot(event, classColor(app.labels, event.label), false),
      h(
        "dl",
        { class: "facts" },
        rows.flatMap(([term, text]) => [h("dt", {}, term), h("dd", {}, text)]),
      ),
    );
  };
  const go = (/** @type {number} */ by) => {
    index = Math.min(all().length - 1, Math.max(0, index + by));
    show();
  };
  element.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") go(-1);
    if (event.key === "ArrowRight") go(1);
  });
  element.addEventListener("click", (event) => event.target === element && element.close()); // beside the dialog
  return {
    element,
    /** @param {KeptEvent} event */
    open(event) {
      index = Math.max(0, all().indexOf(event));
      show();
      element.showModal();
    },
  };
}
