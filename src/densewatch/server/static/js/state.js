/**
 * What may be said of a camera now: only a live one has counts, any other has "no data", never 0.
 * @module
 */

import { duration } from "./times.js";

/** @typedef {import("./types.js").CameraStatus} CameraStatus */
/** @typedef {"live" | "late" | "stalled" | "lost" | "connecting" | "ended" | "unreachable"} Shown */
/** @typedef {{shown: Shown, badge: string, why: string, error: string, hasData: boolean}} Availability */
/** @typedef {"fresh" | "late" | "past" | "old"} Freshness */

const OLD_MS = 10_000; // with no picture for so long beyond a camera's limit, counts are of another time

/**
 * Judge the picture that is shown by its age now, not by what the server said when it sent it.
 * @param {import("./types.js").LiveMessage | null} message
 * @param {number | null} asked since when pictures are asked for, by performance.now(); null while they are not
 * @returns {Freshness} an old one has waited here: a camera far away may be late and yet go on; a past one has
 *   too, but nobody asked for another for so long
 */
export function freshness(message, asked) {
  if (!message) return "fresh";
  const limit = message.result.late_after_ms;
  const asking = asked === null ? 0 : performance.now() - asked;
  if (message.waited() > limit + OLD_MS) return asking > limit + OLD_MS ? "old" : "past";
  return asked !== null && message.age() > limit ? "late" : "fresh";
}

/**
 * @param {CameraStatus | undefined} status
 * @param {import("./live.js").Live["state"]} connection of this page to the server
 * @param {Freshness} picture
 * @returns {Availability}
 */
export function availability(status, connection, picture) {
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
    case "live": {
      if (picture === "old") return none("stalled", "stalled", "No new picture");
      const shown = picture === "late" ? "late" : "live";
      return { shown, badge: shown, why: "", error, hasData: true };
    }
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
 * @param {Shown} shown
 * @returns {string} how long it has been so, where the server knows
 */
export function sinceText(status, shown) {
  return status?.state === shown ? `for ${duration(Date.now() / 1000 - status.since)}` : "";
}
