/**
 * What may be said of a camera now: only a live one has counts, any other has "no data", never 0.
 * @module
 */

import { duration } from "./times.js";

/** @typedef {import("./types.js").CameraStatus} CameraStatus */
/** @typedef {"live" | "late" | "stalled" | "lost" | "connecting" | "ended" | "unreachable"} Shown */
/** @typedef {{shown: Shown, badge: string, why: string, error: string, hasData: boolean}} Availability */

/**
 * @param {CameraStatus | undefined} status
 * @param {import("./live.js").Live["state"]} connection of this page to the server
 * @param {boolean} stale the newest picture is older than the camera's limit
 * @returns {Availability}
 */
export function availability(status, connection, stale) {
  if (connection !== "open") {
    const lost = connection === "lost";
    return none(
      "unreachable",
      lost ? "offline" : "connecting",
      lost ? "No connection to the server" : "Connecting to the server",
    );
  }
  if (!status) return none("lost", "removed", "The server no longer has this camera");
  const error = status.error ?? "";
  switch (status.state) {
    case "live":
      return {
        shown: stale ? "late" : "live",
        badge: stale ? "late" : "live",
        why: "",
        error,
        hasData: true,
      };
    case "stalled":
      return none("stalled", "stalled", "No new picture", error);
    case "connecting":
      return none("connecting", "connecting", "Connecting to the camera", error);
    case "ended":
      return none("ended", "ended", "The recording is at its end", error);
    default:
      return none("lost", "lost", "No connection to the camera", error);
  }
}

/**
 * @param {Shown} shown
 * @param {string} badge
 * @param {string} why
 * @param {string} [error]
 * @returns {Availability}
 */
function none(shown, badge, why, error = "") {
  return { shown, badge, why, error, hasData: false };
}

/**
 * @param {CameraStatus | undefined} status
 * @returns {string} how long it has been so
 */
export function sinceText(status) {
  return status ? `for ${duration(Date.now() / 1000 - status.since)}` : "";
}
