/**
 * Light or dark: as the system says, until the viewer chooses.
 * @module
 */

import { h } from "./dom.js";
import { icon } from "./icons.js";

const KEY = "densewatch:theme";
const system = matchMedia("(prefers-color-scheme: dark)");

/** @returns {"light" | "dark"} what is shown now */
export function theme() {
  return document.documentElement.dataset.theme === "dark" ? "dark" : "light";
}

/**
 * Call `listener` after each change of the theme; charts are drawn with its colours.
 * @param {() => void} listener
 * @returns {() => void} ends it
 */
export function onTheme(listener) {
  const observer = new MutationObserver(listener);
  observer.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  return () => observer.disconnect();
}

/** @param {"light" | "dark"} name */
function show(name) {
  document.documentElement.dataset.theme = name;
}

/** Follow the system's setting as long as the viewer has chosen nothing. */
export function followSystem() {
  system.addEventListener("change", () => {
    if (localStorage.getItem(KEY) === null) show(system.matches ? "dark" : "light");
  });
}

/** @returns {HTMLElement} a button that switches between light and dark */
export function themeButton() {
  const button = h("button", { type: "button", class: "icon-button theme-toggle" });
  const label = () => {
    const next = theme() === "dark" ? "light" : "dark";
    button.replaceChildren(icon(next === "dark" ? "moon" : "sun"));
    button.setAttribute("aria-label", `Switch to ${next} colours`);
    button.title = `Switch to ${next} colours`;
  };
  button.addEventListener("click", () => {
    const next = theme() === "dark" ? "light" : "dark";
    localStorage.setItem(KEY, next);
    show(next);
    label();
  });
  label();
  return button;
}
