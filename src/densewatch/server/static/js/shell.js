/**
 * What is around every page: name, navigation, state of the connection, sign-out.
 * @module
 */

import { errorNote, h } from "./dom.js";
import { icon } from "./icons.js";
import { themeButton } from "./theme.js";
import { zoneName } from "./times.js";

/** @type {Array<[string, string, "wall" | "history" | "events" | "settings"]>} */
const LINKS = [
  ["wall", "Cameras", "wall"],
  ["history", "History", "history"],
  ["events", "Events", "events"],
  ["settings", "System", "settings"],
];

/**
 * @param {import("./types.js").Session} session
 * @param {import("./live.js").Live} live
 * @param {() => void} signOut
 */
export function shell(session, live, signOut) {
  const main = h("main", { id: "main", tabindex: -1 });
  const links = LINKS.map(([name, text, sign]) =>
    h("a", { href: `#/${name}`, "data-page": name }, icon(sign), h("span", {}, text)),
  );
  const connection = h("p", { class: "connection", role: "status" });
  const errors = h("div", { class: "shell-errors" });
  const showConnection = () => {
    const lost = live.state === "lost";
    connection.textContent = lost
      ? "No connection to the server. What you see may be old; trying again."
      : "";
    connection.hidden = !lost;
  };
  live.addEventListener("state", showConnection);
  showConnection();
  const element = h(
    "div",
    { class: "shell" },
    h(
      "header",
      { class: "top" },
      h(
        "a",
        { class: "brand", href: "#/wall", "aria-label": "densewatch, to the cameras" },
        brandMark(),
        h("span", {}, "densewatch"),
      ),
      h("nav", { class: "nav", "aria-label": "Pages" }, links),
      h(
        "div",
        { class: "who" },
        h(
          "a",
          {
            class: "user",
            href: "#/settings/account",
            title: `Signed in as ${session.name}, ${session.role}`,
          },
          session.name,
        ),
        themeButton(),
        h(
          "button",
          {
            type: "button",
            class: "icon-button",
            "aria-label": "Sign out",
            title: "Sign out",
            onclick: signOut,
          },
          icon("leave"),
        ),
      ),
    ),
    connection,
    errors,
    main,
    h("footer", { class: "foot" }, `Times are in ${zoneName()}; hover over one for UTC.`),
  );
  return {
    element,
    main,
    /** @param {string} name of the page that is shown */
    mark(name) {
      errors.replaceChildren();
      for (const link of links) {
        const here = link.dataset.page === (name === "camera" ? "wall" : name);
        if (here) link.setAttribute("aria-current", "page");
        else link.removeAttribute("aria-current");
      }
    },
    /** @param {unknown} error */
    say(error) {
      errors.replaceChildren(errorNote(error));
    },
    close() {
      live.removeEventListener("state", showConnection);
    },
  };
}

/** @returns {HTMLElement} */
export function brandMark() {
  return h("img", { src: "static/icon.svg", alt: "", width: 28, height: 28, class: "brand-mark" });
}
