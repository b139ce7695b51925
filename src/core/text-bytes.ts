// How long a text is as UTF-8. A string of n units has at least n bytes: a huge one is not encoded to find that out.

/** Bytes of UTF-8; any number above `most` for a text that is longer than that for sure. */
export function byteLength(text: string, most: number): number {
  return text.length > most ? text.length : new TextEncoder().encode(text).length;
}
