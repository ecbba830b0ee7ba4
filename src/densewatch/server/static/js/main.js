/**
 * Starts the dashboard: signs in, then shows the page that the address asks for.
 * @module
 */

import { Api, ApiError } from "./api.js";
import { announce, errorNote, h } from "./dom.js";
import { Live } from "./live.js";
import { currentRoute } from "./router.js";
import { shell } from "./shell.js";
import { followSystem } from "./theme.js";
import { ViewSettings } from "./view-settings.js";
import { cameraPage } from "./pages/camera.js";
import { eventsPage } from "./pages/events.js";
import { historyPage } from "./pages/history.js";
import { settingsPage } from "./pages/settings.js";
import { signInPage } from "./pages/sign-in.js";
import { wallPage } from "./pages/wall.js";

/** @typedef {import("./types.js").Session} Session */
/** @typedef {import("./types.js").Page} Page */

/** @type {Record<string, (app: import("./types.js").App, route: import("./router.js").Route) => Promise<Page>>} */
const PAGES = {
  wall: wallPage,
  camera: cameraPage,
  history: historyPage,
  events: eventsPage,
  settings: settingsPage,
};
const RANKS = { viewer: 1, operator: 2, admin: 3 };
/** Kept while somebody is signed in; the session itself is in a cookie that scripts cannot see. */
const SIGNED_IN = "densewatch:signed-in";
const MOST_TIMER_MS = 2 ** 31 - 1;

class Dashboard {
  api = new Api();
  view = new ViewSettings();
  live = new Live(() => this.#stillSignedIn());
  root = /** @type {HTMLElement} */ (document.getElementById("app"));

  /** @type {Session | null} */
  #session = null;
  /** @type {Page | null} */
  #page = null;
  /** @type {ReturnType<typeof shell> | null} */
  #shell = null;
  /** @type {string[]} */
  #labels = [];
  #turn = 0;
  #expiry = 0;

  async start() {
    followSystem();
    this.api.onSignedOut = () => {
      localStorage.removeItem(SIGNED_IN);
      this.#signedOut("Your session has ended. Sign in again.");
    };
    window.addEventListener("hashchange", () => this.#show(true));
    document.getElementById("skip")?.addEventListener("click", (event) => {
      event.preventDefault();
      document.getElementById("main")?.focus();
    });
    if (localStorage.getItem(SIGNED_IN) === null) {
      this.#signedOut(""); // asking would only be refused
      return;
    }
    try {
      await this.#signedIn(await this.api.request("GET", "session", { quiet: true }), false);
    } catch (error) {
      const known = error instanceof ApiError && error.status === 401;
      if (known) localStorage.removeItem(SIGNED_IN);
      this.#signedOut(known ? "" : error instanceof Error ? error.message : String(error));
    }
  }

  /**
   * @param {Session} session
   * @param {boolean} moved just now, by the form
   */
  async #signedIn(session, moved) {
    this.api.csrf = session.csrf;
    this.#labels = (await this.api.get("system")).labels;
    this.#session = session;
    localStorage.setItem(SIGNED_IN, "yes");
    this.view.load(session.name);
    this.#shell = shell(session, this.live, () => this.#signOut());
    this.root.replaceChildren(this.#shell.element);
    clearTimeout(this.#expiry);
    const left = (session.expires ?? Infinity) * 1000 - Date.now();
    this.#expiry = window.setTimeout(
      () => this.#stillSignedIn(),
      Math.min(Math.max(left, 0) + 500, MOST_TIMER_MS),
    );
    this.live.start();
    this.#show(moved);
  }

  /** @param {string} why said on the sign-in page */
  #signedOut(why) {
    if (!this.#session && this.root.childElementCount) return; // it is shown already
    this.#session = null;
    this.#turn += 1;
    this.api.csrf = null;
    clearTimeout(this.#expiry);
    this.#shell?.close();
    this.#closePage();
    this.live.stop();
    const page = signInPage(this.api, why, (session) => this.#signedIn(session, true));
    document.title = "Sign in · densewatch";
    this.root.replaceChildren(page);
    page.querySelector("input")?.focus();
  }

  async #signOut() {
    try {
      await this.api.request("DELETE", "session", { quiet: true });
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 401) {
        this.#shell?.say(error);
        return; // the session lives on; saying otherwise would be a lie
      }
    }
    localStorage.removeItem(SIGNED_IN);
    this.#signedOut("You are signed out.");
  }

  /** @returns {Promise<boolean>} false after the way back to the sign-in page */
  async #stillSignedIn() {
    try {
      await this.api.get("session");
      return true;
    } catch (error) {
      return !(error instanceof ApiError && error.status === 401);
    }
  }

  #closePage() {
    this.#page?.close?.();
    this.#page = null;
  }

  /** @param {boolean} moved somebody went here, so the focus goes along */
  async #show(moved) {
    if (!this.#session || !this.#shell) return;
    const turn = ++this.#turn;
    const route = currentRoute();
    const { session, shell: frame } = { session: this.#session, shell: this.#shell };
    this.#closePage();
    frame.mark(route.name);
    const may = (/** @type {Session["role"]} */ role) => RANKS[session.role] >= RANKS[role];
    const app = { api: this.api, live: this.live, view: this.view, session, labels: this.#labels, may };
    let page;
    try {
      page = await (PAGES[route.name] ?? missingPage)(app, route);
    } catch (error) {
      page = {
        title: "Error",
        element: h("div", {}, h("h1", {}, "This page did not load"), errorNote(error)),
      };
    }
    if (turn !== this.#turn) {
      page.close?.(); // somebody went on meanwhile
      return;
    }
    this.#page = page;
    document.title = `${page.title} · densewatch`;
    frame.main.replaceChildren(page.element);
    if (moved) {
      frame.main.focus({ preventScroll: true });
      window.scrollTo(0, 0);
      announce(page.title);
    }
  }
}

/** @returns {Promise<Page>} */
async function missingPage() {
  const link = h("a", { href: "#/wall" }, "To the cameras");
  return {
    title: "Not found",
    element: h("div", {}, h("h1", {}, "There is no such page"), h("p", {}, link)),
  };
}

new Dashboard().start();
