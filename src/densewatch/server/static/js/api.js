/**
 * Talks to the REST routes under api/v1.
 * @module
 */

/** What a server said no to, in a sentence for people. */
export class ApiError extends Error {
  /**
   * @param {number} status HTTP status; 0 when the server could not be reached
   * @param {string} message
   */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/**
 * @param {Response} response
 * @returns {Promise<string>}
 */
async function reason(response) {
  if (response.status === 429) {
    const seconds = response.headers.get("Retry-After");
    return `Too many attempts. Try again ${seconds ? `in ${seconds} seconds` : "later"}.`;
  }
  try {
    const { detail } = await response.json();
    if (typeof detail === "string") return detail;
    if (Array.isArray(detail)) {
      return detail.map((item) => `${(item.loc ?? []).slice(1).join(" › ")}: ${item.msg}`).join("; ");
    }
  } catch {
    // No JSON: the status has to do.
  }
  return `The server answered ${response.status} ${response.statusText}.`.replace(" .", ".");
}

/**
 * @param {string} path below api/v1, parts already encoded
 * @param {Record<string, string | number | null | undefined>} [query] empty values are left out
 * @returns {string} an address relative to the page, so that a prefix of a proxy does no harm
 */
export function address(path, query = {}) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") search.set(name, String(value));
  }
  const text = search.toString();
  return `api/v1/${path}${text ? `?${text}` : ""}`;
}

/**
 * Put strings from people into an address.
 * @param {TemplateStringsArray} texts
 * @param {...(string | number)} values
 * @returns {string}
 */
export function path(texts, ...values) {
  return texts.reduce((all, text, index) => all + encodeURIComponent(String(values[index - 1])) + text);
}

export class Api {
  /** @type {string | null} what the server wants to see beside the cookie */
  csrf = null;

  /** @type {() => void} called when the session has ended */
  onSignedOut = () => {};

  /**
   * @param {string} method
   * @param {string} where path below api/v1
   * @param {{query?: Record<string, string | number | null | undefined>, body?: unknown, quiet?: boolean}} [options]
   *   quiet: a 401 is the caller's to say
   * @returns {Promise<any>} the answer's JSON; null where there is none
   * @throws {ApiError}
   */
  async request(method, where, { query, body, quiet = false } = {}) {
    /** @type {Record<string, string>} */
    const headers = {};
    if (this.csrf !== null && method !== "GET") headers["X-CSRF-Token"] = this.csrf;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let response;
    try {
      response = await fetch(address(where, query), {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        credentials: "same-origin",
        cache: "no-store",
      });
    } catch {
      throw new ApiError(0, "The server cannot be reached.");
    }
    if (response.status === 401 && !quiet) this.onSignedOut();
    if (!response.ok) throw new ApiError(response.status, await reason(response));
    const text = await response.text();
    return text ? JSON.parse(text) : null;
  }

  /**
   * @param {string} where
   * @param {Record<string, string | number | null | undefined>} [query]
   * @returns {Promise<any>}
   */
  get(where, query) {
    return this.request("GET", where, { query });
  }

  /**
   * @param {string} where
   * @param {unknown} body
   * @returns {Promise<any>}
   */
  put(where, body) {
    return this.request("PUT", where, { body });
  }

  /**
   * @param {string} where
   * @param {unknown} body
   * @returns {Promise<any>}
   */
  post(where, body) {
    return this.request("POST", where, { body });
  }

  /**
   * @param {string} where
   * @param {unknown} body
   * @returns {Promise<any>}
   */
  patch(where, body) {
    return this.request("PATCH", where, { body });
  }

  /**
   * @param {string} where
   * @returns {Promise<any>}
   */
  delete(where) {
    return this.request("DELETE", where);
  }
}
