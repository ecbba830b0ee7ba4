/**
 * The one WebSocket of the page: shares its messages out, and comes back when it was cut.
 * @module
 */

import { Delay, decodeMessage } from "./message.js";

/** @typedef {import("./types.js").LiveMessage} LiveMessage */
/** @typedef {import("./types.js").CameraStatus} CameraStatus */
/** @typedef {{camera: string, width: number, fps: number, listener: (message: LiveMessage) => void}} Wish */

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
const SILENCE_MS = 6_000; // states come every second; after this long the line is dead
const WANT_PAUSE_MS = 250; // many cards come into view at once: one message for all; a server takes five a second

export class Live extends EventTarget {
  /** @type {"closed" | "connecting" | "open" | "lost"} */
  state = "closed";

  /** @type {Map<string, CameraStatus>} the newest states */
  statuses = new Map();

  /** When `statuses` came, by performance.now(). */
  statusesAt = 0;

  #askedAt = 0;
  /** @type {Map<symbol, Wish>} */
  #wishes = new Map();
  /** @type {WebSocket | null} */
  #socket = null;
  #delay = new Delay();
  #attempts = 0;
  #heardAt = 0;
  #retryTimer = 0;
  #wantTimer = 0;
  #silenceTimer = 0;
  #wanted = "";

  /** @param {() => Promise<boolean>} mayConnect asks whether the session is still good */
  constructor(mayConnect) {
    super();
    this.mayConnect = mayConnect;
  }

  start() {
    document.addEventListener("visibilitychange", this.#onVisible);
    window.addEventListener("online", this.#onOnline);
    this.#silenceTimer = window.setInterval(() => this.#checkSilence(), 1000);
    this.#connect();
  }

  stop() {
    document.removeEventListener("visibilitychange", this.#onVisible);
    window.removeEventListener("online", this.#onOnline);
    clearInterval(this.#silenceTimer);
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#wantTimer);
    this.#drop();
    this.statuses.clear();
    this.#setState("closed");
  }

  /**
   * Ask for a camera's pictures.
   * @param {Wish} wish
   * @returns {() => void} ends it
   */
  subscribe(wish) {
    const key = Symbol(wish.camera);
    this.#wishes.set(key, wish);
    this.#wantSoon();
    return () => {
      this.#wishes.delete(key);
      this.#wantSoon();
    };
  }

  /** @returns {number | null} since when pictures are asked for, by performance.now(); null while they are not */
  get askedAt() {
    return this.state === "open" && !document.hidden ? this.#askedAt : null;
  }

  #onVisible = () => {
    this.#askedAt = performance.now();
    this.#wantSoon();
  };

  #onOnline = () => {
    if (this.state === "lost") this.#connect();
  };

  /** @param {Live["state"]} state */
  #setState(state) {
    if (state === this.state) return;
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }

  #connect() {
    clearTimeout(this.#retryTimer);
    this.#drop();
    if (this.state !== "lost") this.#setState("connecting");
    const url = new URL(
      `api/v1/live?cameras=${this.#cameras().map(encodeURIComponent).join(",")}`,
      document.baseURI,
    );
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#delay = new Delay();
      this.#wanted = "";
      this.#wantSoon();
    };
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = () => this.#lost();
    this.#socket = socket;
    this.#heardAt = performance.now();
  }

  #drop() {
    if (!this.#socket) return;
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.#socket = null;
  }

  async #lost() {
    this.#drop();
    this.#setState("lost");
    const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#attempts) * (0.75 + Math.random() / 2);
    this.#attempts += 1;
    clearTimeout(this.#retryTimer);
    this.#retryTimer = window.setTimeout(async () => {
      const may = await this.mayConnect().catch(() => true); // a server that is away is asked again
      if (may && this.state === "lost") this.#connect();
    }, wait);
  }

  #checkSilence() {
    if (this.#socket && performance.now() - this.#heardAt > SILENCE_MS) this.#lost();
  }

  /** @param {ArrayBuffer | string} data */
  #receive(data) {
    this.#heardAt = performance.now();
    this.#attempts = 0;
    if (typeof data === "string") {
      this.#receiveText(JSON.parse(data));
      return;
    }
    const { result, picture } = decodeMessage(data);
    const arrived = performance.now();
    const ageThen = result.age_ms + this.#delay.measure(result.sent, Date.now());
    const waited = () => performance.now() - arrived;
    const message = { result, picture, waited, age: () => ageThen + waited() };
    for (const wish of this.#wishes.values()) {
      if (wish.camera === result.camera) wish.listener(message);
    }
  }

  /** @param {{type: string, cameras?: CameraStatus[], reason?: string}} message */
  #receiveText(message) {
    if (message.type === "status") {
      this.statuses = new Map((message.cameras ?? []).map((status) => [status.id, status]));
      this.statusesAt = performance.now();
      if (this.state !== "open") this.#askedAt = this.statusesAt;
      this.#setState("open");
      this.dispatchEvent(new Event("status"));
    } else if (message.type === "bye") {
      this.#lost();
    }
  }

  #cameras() {
    if (document.hidden) return []; // nobody looks
    return [...new Set([...this.#wishes.values()].map((wish) => wish.camera))].sort();
  }

  #wantSoon() {
    clearTimeout(this.#wantTimer);
    this.#wantTimer = window.setTimeout(() => this.#want(), WANT_PAUSE_MS);
  }

  #want() {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    const wishes = [...this.#wishes.values()];
    const want = JSON.stringify({
      type: "want",
      cameras: this.#cameras(),
      max_width: Math.max(160, ...wishes.map((wish) => wish.width)),
      max_fps: Math.max(1, ...wishes.map((wish) => wish.fps)),
    });
    if (want === this.#wanted) return;
    this.#wanted = want;
    this.#socket.send(want);
  }
}
