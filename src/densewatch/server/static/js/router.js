/**
 * Pages by the address after the `#`: `#/camera/gate?tab=zones`.
 * @module
 */

/** @typedef {{name: string, parts: string[], query: URLSearchParams}} Route */

/** @returns {Route} where we are; the wall of cameras where the address says nothing */
export function currentRoute() {
  const [where, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...parts] = where.split("/").filter(Boolean).map(decodePart);
  return { name: name ?? "wall", parts, query: new URLSearchParams(query) };
}

/** @param {string} part */
function decodePart(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/**
 * @param {string[]} parts
 * @param {Record<string, string | number | null | undefined>} [query] empty values are left out
 * @returns {string} for a link
 */
export function hash(parts, query = {}) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") search.set(name, String(value));
  }
  const text = search.toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

/**
 * Change the address without loading the page anew: what is shown is already what it says.
 * @param {string} address
 */
export function noteAddress(address) {
  history.replaceState(null, "", address);
}
