/**
 * A live message: a JSON header and the JPEG of the same frame, in one piece.
 * @module
 */

const text = new TextDecoder();

/**
 * @param {ArrayBuffer} buffer 4 bytes of header length (big-endian), header, JPEG
 * @returns {{result: import("./types.js").Result, picture: Blob}}
 * @throws {RangeError | SyntaxError} it is no such message
 */
export function decodeMessage(buffer) {
  const length = new DataView(buffer).getUint32(0);
  const result = JSON.parse(text.decode(new Uint8Array(buffer, 4, length)));
  return { result, picture: new Blob([new Uint8Array(buffer, 4 + length)], { type: "image/jpeg" }) };
}

/**
 * How long messages are on their way. The viewer's clock may be wrong, so the fastest message so far counts as
 * immediate, and every later one is measured against it.
 */
export class Delay {
  #least = Infinity;

  /**
   * @param {number} sent Unix seconds by the server's clock
   * @param {number} now Unix milliseconds by ours
   * @returns {number} milliseconds
   */
  measure(sent, now) {
    const difference = now - sent * 1000;
    this.#least = Math.min(this.#least, difference);
    return difference - this.#least;
  }
}
