// The parts of docs/ that repeat the code: the table of bounds in LIMITS.md, the bytes on disk in FORMATS.md. Written
// from the sources, between marks; `npm run docs` renews them, and a test says when that was forgotten.

import { readFileSync, writeFileSync } from 'node:fs';
import { diagramOf } from './diagrams.ts';
import { readSources, type SourceFile } from './sources.ts';

/** The documents with parts that the code writes. */
export const WRITTEN_DOCS = ['docs/LIMITS.md', 'docs/FORMATS.md', 'docs/ACTORS.md'];

interface Bound {
  readonly name: string;
  readonly value: string;
  readonly path: string;
  readonly text: string;
}

const BOUND =
  /^(MAX_|MIN_)|_MS$|LIMIT|_WINDOW|WINDOW_|TRIES|_PER_|CREDITS|_BATCH$|RESERVE|^PULL_BYTES$|^BATCH_BYTES$|^FRESH_BYTES$/;
/** Units and sizes that are the format itself, not a bound. */
const NO_BOUND = /^(SECOND_MS|MINUTE_MS|SECTORS_PER_|REGIONS_PER_|MAX_TOKEN$)/;

/** A file of docs/ with its generated parts renewed. */
export function renewed(doc: string, sources: readonly SourceFile[]): string {
  return doc.replace(
    /(<!-- begin (\S+) -->\n)[\s\S]*?(<!-- end -->)/g,
    (_whole, begin: string, what: string, end: string) => `${begin}${part(what, sources)}${end}`,
  );
}

/** Every bound with a name, in the order of files. */
export function boundsOf(sources: readonly SourceFile[]): readonly Bound[] {
  return sources.flatMap(({ path, text }) => {
    const form =
      /((?:^[ \t]*(?:\/\*\*|\*|\/\/).*\n)*)^(?:export )?const ([A-Z][A-Z0-9_]+)(?::[^=\n]*)? =\s([^;]+);/gm;
    return [...text.matchAll(form)].flatMap((match): Bound[] => {
      const [, comment = '', name = '', value = ''] = match;
      if (!BOUND.test(name) || NO_BOUND.test(name)) return [];
      return [{ name, value: value.replace(/\s+/g, ' '), path, text: plain(comment, match.index) }];
    });
  });
}

function part(what: string, sources: readonly SourceFile[]): string {
  if (what === 'bounds') return boundsTable(boundsOf(sources));
  if (what.startsWith('machine:')) return `\n\`\`\`mermaid\n${diagramOf(what.slice(8))}\`\`\`\n\n`;
  const file = sources.find(({ path }) => path === what);
  if (file === undefined) throw new RangeError(`docs name ${what}, which is no source`);
  return `\n\`\`\`text\n${headerOf(file.text)}\`\`\`\n\n`;
}

/** The opening comment of a file, of either form, as plain text. */
function headerOf(text: string): string {
  const lines = /^(?:\/\/[^\n]*\n)+/.exec(text)?.[0];
  if (lines !== undefined) return lines.replace(/^\/\/ ?/gm, '');
  const block = /^\/\*\*\n([\s\S]*?)\*\//.exec(text)?.[1] ?? '';
  return block
    .replace(/^ ?\* ?/gm, '')
    .trimEnd()
    .concat('\n');
}

function boundsTable(bounds: readonly Bound[]): string {
  const rows = bounds.map(({ name, value, path, text }) => {
    const file = path.replace(/^src\//, '');
    return `| \`${name}\` | \`${value.replaceAll('|', '\\|')}\` | ${file} | ${text.replaceAll('|', '\\|')} |\n`;
  });
  return `\n| bound | value | where | what |\n|---|---|---|---|\n${rows.join('')}\n`;
}

/** The comment right above, as one line; the opening comment of a file is not one. */
function plain(comment: string, at: number): string {
  if (at === 0) return '';
  const text = comment.replace(/^[ \t]*(\/\*\*|\*\/|\*|\/\/)/gm, '').replace(/\*\//g, '');
  return text.replace(/\s+/g, ' ').trim();
}

if (import.meta.main) {
  const sources = readSources(['src/**/*.ts']);
  for (const path of WRITTEN_DOCS) {
    writeFileSync(path, renewed(readFileSync(path, 'utf8'), sources));
  }
}
