/**
 * The shapes of what the server sends; see /api/v1/openapi.json for the whole of it.
 * @module
 */

/** @typedef {[number, number]} Point x and y as shares of width and height */

/**
 * @typedef {object} Filters
 * @property {string[] | null} [only]
 * @property {number | null} [threshold]
 * @property {Record<string, number>} [thresholds]
 * @property {number} [min_area]
 * @property {number} [max_area]
 */

/** @typedef {Filters & {points: Point[], anchor?: "bottom" | "center", bay?: boolean}} Zone */
/** @typedef {Filters & {start: Point, end: Point, anchor?: "bottom" | "center", margin?: number}} Line */
/** @typedef {"connecting" | "live" | "stalled" | "lost" | "ended"} CameraState */

/**
 * @typedef {object} CameraStatus
 * @property {string} id
 * @property {CameraState} state
 * @property {number} since Unix seconds
 * @property {string} address
 * @property {string | null} error
 * @property {number | null} age_ms
 * @property {number | null} last_time
 * @property {[number, number] | null} size height, width
 * @property {number} fps_in
 * @property {number} fps_out
 * @property {Record<string, number>} dropped
 * @property {Record<string, number>} reconnects
 */

/**
 * @typedef {CameraStatus & {name: string | null, labels: string[], zones: Record<string, Zone>,
 *   lines: Record<string, Line>, masks: Point[][]}} Camera
 */

/**
 * @typedef {object} Detection
 * @property {string} label
 * @property {number} score
 * @property {[number, number, number, number]} box pixels of the frame
 * @property {number} [track] -1 while it is not sure
 */

/** @typedef {{counts: Record<string, number>, taken: boolean | null, dwell_s: Record<string, number>}} ZoneCount */

/**
 * @typedef {object} Result
 * @property {string} camera
 * @property {number} frame
 * @property {number} time
 * @property {number} age_ms
 * @property {boolean} stale when it was sent
 * @property {number} late_after_ms
 * @property {number} width
 * @property {number} height
 * @property {boolean} saturated
 * @property {Detection[]} detections
 * @property {Record<string, number>} counts
 * @property {Record<string, ZoneCount>} zones
 * @property {Record<string, {in?: number, out?: number}>} lines
 * @property {number} sent
 */

/**
 * @typedef {object} LiveMessage
 * @property {Result} result
 * @property {Blob} picture
 * @property {() => number} age of the picture now, in ms
 * @property {() => number} waited how long ago it came here, in ms
 */
/** @typedef {{name: string, role: "viewer" | "operator" | "admin", csrf: string, expires: number | null}} Session */
/** @typedef {{title: string, element: HTMLElement, close?: () => void}} Page */

/**
 * @typedef {object} App what every page gets
 * @property {import("./api.js").Api} api
 * @property {import("./live.js").Live} live
 * @property {import("./view-settings.js").ViewSettings} view
 * @property {Session} session
 * @property {string[]} labels the model's classes in their order: it chooses their colours
 * @property {(role: Session["role"]) => boolean} may whether the viewer has at least this role
 */

export {};
