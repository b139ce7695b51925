// The project's own TypeScript files, and a reader that knows comments and strings: what `tidy` and the test of the
// floors look at. A small scanner, no compiler: it needs to know where code is, not what it means.

import { globSync, readFileSync } from 'node:fs';

export interface SourceFile {
  /** From the project's root, with '/'. */
  readonly path: string;
  readonly text: string;
}

export interface Import {
  readonly specifier: string;
  readonly isTypeOnly: boolean;
  readonly line: number;
}

export function readSources(patterns: readonly string[]): readonly SourceFile[] {
  return globSync([...patterns])
    .filter((path) => !path.includes('node_modules'))
    .sort()
    .map((path) => ({ path, text: readFileSync(path, 'utf8') }));
}

/** The text with comments and the insides of strings blanked; every character keeps its place, lines too. */
export function codeOnly(text: string): string {
  // Regular expression literals are only known after an operator or an opening bracket: else '/' divides.
  const token =
    /\/\/[^\n]*|\/\*[\s\S]*?\*\/|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|(?<=[=(,:[!&|?{};]\s*|return\s+)\/(?![/*])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\/[a-z]*/g;
  return text.replace(token, (match) => {
    const isQuoted = /^['"`]/.test(match);
    const inner = (isQuoted ? match.slice(1, -1) : match).replace(/[^\n]/g, ' ');
    return isQuoted ? `${match[0]}${inner}${match[0]}` : inner;
  });
}

/** Every import, re-export and dynamic import with a literal. */
export function importsOf(text: string): readonly Import[] {
  const code = codeOnly(text);
  const found: Import[] = [];
  const form = /\b(?:(import|export)\s+(type\s+)?(?:[^'";()]*?\bfrom\s*)?|import\s*\(\s*)(['"])/g;
  for (const match of code.matchAll(form)) {
    const start = match.index + match[0].length;
    const quote = match[3] as string;
    const end = text.indexOf(quote, start);
    const isPlain = match[1] === 'export' && !match[0].includes('from');
    if (end < 0 || isPlain) continue;
    const line = text.slice(0, match.index).split('\n').length;
    found.push({ specifier: text.slice(start, end), isTypeOnly: match[2] !== undefined, line });
  }
  return found;
}
