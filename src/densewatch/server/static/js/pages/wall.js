/**
 * The wall: all cameras, live.
 * @module
 */

import { CameraView } from "../camera-view.js";
import { announce, h } from "../dom.js";
import { filterBar } from "../filter-bar.js";
import { hash } from "../router.js";

const WALL_FPS = 12;

/** @typedef {import("../types.js").Camera} Camera */

/**
 * @param {Camera[]} cameras
 * @returns {string[]} all classes that any of them knows
 */
export function allLabels(cameras) {
  return [...new Set(cameras.flatMap((camera) => camera.labels))];
}

/**
 * Say to screen readers when a camera's state changes.
 * @param {CameraView} view
 */
export function announceStates(view) {
  let told = "";
  view.addEventListener("state", () => {
    const { badge, hasData, shown } = view.available;
    const usual = told === "" && ["live", "late", "connecting"].includes(shown);
    const seen = [told, shown].every((state) => state === "live" || state === "late"); // may change each second
    const ofServer = shown === "unreachable" || (told === "unreachable" && hasData); // said once for all
    if (!usual && !seen && !ofServer)
      announce(`${view.camera.name ?? view.camera.id}: ${badge}${hasData ? "" : ", no data"}`);
    told = shown;
  });
}

/**
 * @param {import("../types.js").App} app
 * @param {Camera} camera
 */
function card(app, camera) {
  const view = new CameraView(app, camera, { fps: WALL_FPS });
  announceStates(view);
  const title = h("a", { href: hash(["camera", camera.id]) }, camera.name ?? camera.id);
  const link = h("a", {
    href: hash(["camera", camera.id]),
    tabindex: -1,
    "aria-hidden": "true",
    class: "card-cover",
  });
  view.element.append(link);
  const element = h(
    "li",
    { class: "card", "data-camera": camera.id },
    view.element,
    h(
      "div",
      { class: "card-text" },
      h("div", { class: "card-head" }, h("h2", {}, title), view.ageText, view.badge),
      view.tally,
    ),
  );
  return { view, element };
}

/**
 * @param {import("../types.js").App} app
 * @returns {Promise<import("../types.js").Page>}
 */
export async function wallPage(app) {
  /** @type {Camera[]} */
  const cameras = await app.api.get("cameras");
  const cards = cameras.map((camera) => card(app, camera));
  const summary = h("p", { class: "summary", role: "status" });
  const summarise = () => {
    const silent = cards.filter(({ view }) => !view.available.hasData).length;
    const text = silent ? `${silent} of ${cards.length} without data` : `${cards.length} live`;
    if (summary.textContent !== text) summary.textContent = text;
    summary.classList.toggle("summary-bad", silent > 0);
  };
  app.live.addEventListener("status", summarise);
  app.live.addEventListener("state", summarise);
  if (app.live.state === "open") summarise();
  const element = h(
    "div",
    { class: "wall-page" },
    h(
      "div",
      { class: "page-head" },
      h("h1", {}, "Cameras"),
      summary,
      filterBar(app.view, allLabels(cameras)),
    ),
    cameras.length
      ? h(
          "ul",
          { class: `wall wall-${Math.min(cameras.length, 3)}` },
          cards.map((item) => item.element),
        )
      : h("p", { class: "note" }, "No camera is configured. Add one to the site's file, and start again."),
  );
  return {
    title: "Cameras",
    element,
    close() {
      app.live.removeEventListener("status", summarise);
      app.live.removeEventListener("state", summarise);
      cards.forEach(({ view }) => view.close());
    },
  };
}
