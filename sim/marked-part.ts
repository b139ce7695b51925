// The part of a document that a command renews: what lies between `<!-- begin NAME -->` and `<!-- end NAME -->`.

/** The document with these lines in the place of those that it has there. */
export function withPart(document: string, name: string, lines: readonly string[]): string {
  const [begin, end] = [`<!-- begin ${name} -->\n`, `<!-- end ${name} -->`];
  const from = document.indexOf(begin);
  const to = document.indexOf(end);
  if (from < 0 || to < from) throw new RangeError(`no ${begin.trim()} in the document`);
  return `${document.slice(0, from + begin.length)}${lines.join('\n')}\n${document.slice(to)}`;
}
