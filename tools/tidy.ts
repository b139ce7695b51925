// Style by machine: what docs/STYLE.md says and a program can see. Runs as a test; by itself it prints what it finds.

import { codeOnly, readSources, type SourceFile } from './sources.ts';

export interface Finding {
  readonly path: string;
  readonly line: number;
  readonly text: string;
}

const MAX_FILE_LINES = 500;
/** A test file may tell more stories of one thing. */
const MAX_TEST_FILE_LINES = 600;
const MAX_FUNCTION_LINES = 70;
/** Lines of code are the formatter's. Comments end at 120, give or take a word's tail. */
const MAX_COMMENT_LINE = 125;
const DOCUMENTED = /^src\/(core|storage|ports)\//;
/** Files that meet the machine: real clocks and random sources are theirs. Everything else in src/ is simulated. */
const REAL = [
  /^src\/(io|cli|api)\//,
  /^src\/main\.ts$/,
  /^src\/nbd\/nbd-server\.ts$/,
  /^src\/p2p\/(libp2p-network|gated-node|data-channel|socket-channel|identity|control-stream)\.ts$/,
];
const BANNED =
  /\b(Date\.now|new Date|Date\(|performance\.|process\.|Math\.random|randomUUID|getRandomValues|randomBytes|randomInt|crypto\.subtle|setTimeout(?!:)|setInterval(?!:)|setImmediate|queueMicrotask|AbortSignal\.timeout|WeakRef|Intl\.|localeCompare)/;

/** Everything that is wrong with these files. */
export function tidy(files: readonly SourceFile[]): readonly Finding[] {
  return files.flatMap((file) => {
    const code = codeOnly(file.text);
    return [
      ...lengthFindings(file, code),
      ...headerFindings(file),
      ...wordFindings(file, code),
      ...functionFindings(file, code),
      ...docFindings(file, code),
      ...invokeFindings(file, code),
    ];
  });
}

function lengthFindings(file: SourceFile, code: string): readonly Finding[] {
  const found: Finding[] = [];
  const lines = file.text.split('\n');
  const codeLines = code.split('\n');
  const most = file.path.startsWith('test/') ? MAX_TEST_FILE_LINES : MAX_FILE_LINES;
  if (lines.length - 1 > most) {
    found.push({ path: file.path, line: 1, text: `${lines.length - 1} lines: two ideas` });
  }
  lines.forEach((line, at) => {
    const isComment = (codeLines[at] ?? '').trim() === '' && /^\s*(\/\/|\/?\*)/.test(line);
    if (!isComment || line.length <= MAX_COMMENT_LINE) return;
    const text = `${line.length} characters, at most ${MAX_COMMENT_LINE}`;
    found.push({ path: file.path, line: at + 1, text });
  });
  return found;
}

/** Tests say by their names what they hold. */
function headerFindings(file: SourceFile): readonly Finding[] {
  if (file.path.startsWith('test/')) return [];
  const start = file.text.replace(/^#![^\n]*\n/, '').trimStart();
  if (start.startsWith('//') || start.startsWith('/*')) return [];
  return [{ path: file.path, line: 1, text: 'no opening comment' }];
}

type Rule = readonly [form: RegExp, text: string, where: (path: string) => boolean];

const inSource = (path: string): boolean => path.startsWith('src/');
const RULES: readonly Rule[] = [
  [/(:|<|\bas|,|\|)\s*any\b(?!\s*[(:])/, 'any', () => true],
  [/^\s*(export\s+|declare\s+|const\s+)*enum\s+\w/, 'enum', () => true],
  [/^\s*(export\s+|declare\s+)*namespace\s+\w/, 'namespace', () => true],
  [/\bexport\s+default\b/, 'default export', () => true],
  [/\bconsole\.\w+\(/, 'console', (path) => inSource(path)],
  [
    /\b(throw\s+)?new Error\(/,
    'bare new Error',
    (path) => inSource(path) && !path.endsWith('/invariant.ts'),
  ],
  [BANNED, 'the machine itself in simulated code', isSimulated],
];

function wordFindings(file: SourceFile, code: string): readonly Finding[] {
  const found: Finding[] = [];
  code.split('\n').forEach((line, at) => {
    for (const [form, text, where] of RULES) {
      if (where(file.path) && form.test(line)) found.push({ path: file.path, line: at + 1, text });
    }
  });
  file.text.split('\n').forEach((line, at) => {
    const mark = /\b(FIX(?=ME)ME|HA(?=CK)CK|XX(?=X)X)\b/.exec(line)?.[0];
    if (mark !== undefined) found.push({ path: file.path, line: at + 1, text: mark });
    if (/\bTODO\b(?!\s*\(?#\d)/.test(line) && !file.path.startsWith('tools/')) {
      found.push({ path: file.path, line: at + 1, text: 'TODO without an issue number' });
    }
  });
  return found;
}

function isSimulated(path: string): boolean {
  return inSource(path) && !REAL.some((form) => form.test(path));
}

/** Declarations and methods; the body is found by counting braces. */
function functionFindings(file: SourceFile, code: string): readonly Finding[] {
  const found: Finding[] = [];
  const form =
    /^[ \t]*(?:export\s+)?(?:async\s+)?(?:function\s*\*?\s*(\w+)|(?:(?:static|async|get|set|override|private)\s+)*([#\w]+)\s*(?:<[^>]*>)?\([^;]*?\)[^;{}=]*\{|(?:export\s+)?const\s+(\w+)\s*=\s*(?:async\s*)?\()/gm;
  for (const match of code.matchAll(form)) {
    const name = match[1] ?? match[2] ?? match[3] ?? '';
    if (['if', 'for', 'while', 'switch', 'catch', 'return', 'test'].includes(name)) continue;
    const open = bodyStart(code, match.index + match[0].length - 1);
    if (open < 0) continue;
    const end = closing(code, open);
    const count = linesBetween(code, match.index, end);
    if (count <= MAX_FUNCTION_LINES) continue;
    const line = linesBetween(code, 0, match.index);
    found.push({
      path: file.path,
      line,
      text: `${name}: ${count} lines, at most ${MAX_FUNCTION_LINES}`,
    });
  }
  return found;
}

/** The brace that opens the body: the first one outside of parentheses. */
function bodyStart(code: string, from: number): number {
  let depth = code[from] === '(' ? 0 : undefined;
  if (code[from] === '{') return from;
  for (let at = from; at < code.length; at += 1) {
    const character = code[at];
    if (character === '(') depth = (depth ?? 0) + 1;
    else if (character === ')') depth = (depth ?? 0) - 1;
    else if (depth === 0 && character === ';') return -1;
    else if (depth === 0 && character === '{') return at;
  }
  return -1;
}

function closing(code: string, open: number): number {
  let depth = 0;
  for (let at = open; at < code.length; at += 1) {
    if (code[at] === '{') depth += 1;
    if (code[at] === '}') depth -= 1;
    if (depth === 0) return at;
  }
  return code.length;
}

function linesBetween(code: string, from: number, to: number): number {
  return code.slice(from, to).split('\n').length;
}

function docFindings(file: SourceFile, code: string): readonly Finding[] {
  if (!DOCUMENTED.test(file.path)) return [];
  const lines = file.text.split('\n');
  return code.split('\n').flatMap((line, at) => {
    const name = /^export (?:async )?function\*? (\w+)/.exec(line)?.[1];
    if (name === undefined) return [];
    const before = (lines[at - 1] ?? '').trim();
    const isOverload = /^export (async )?function/.test(before) && before.endsWith(';');
    if (before.endsWith('*/') || isOverload) return [];
    return [{ path: file.path, line: at + 1, text: `${name}: exported without a docstring` }];
  });
}

/** An invoke without onError takes the parent down with it. */
function invokeFindings(file: SourceFile, code: string): readonly Finding[] {
  if (!file.path.startsWith('src/actors/')) return [];
  return [...code.matchAll(/\binvoke:\s*([{[])/g)].flatMap((match) => {
    const open = match.index + match[0].length - 1;
    const end = match[1] === '{' ? closing(code, open) : code.indexOf(']', open);
    const body = code.slice(open, end);
    const invoked = body.split(/\bsrc:/).length - 1;
    const handled = body.split(/\bonError:/).length - 1 + spreadHandlers(body, code);
    if (handled >= Math.max(invoked, 1)) return [];
    const line = linesBetween(code, 0, match.index);
    return [{ path: file.path, line, text: 'invoke without onError' }];
  });
}

/** `...shared` counts when `const shared` in the same file has an onError. */
function spreadHandlers(body: string, code: string): number {
  const names = [...body.matchAll(/\.\.\.(\w+)/g)].map((match) => match[1] as string);
  return names.filter((name) => {
    const at = code.search(new RegExp(`\\bconst ${name}\\b`));
    const open = at < 0 ? -1 : code.indexOf('{', at);
    return open >= 0 && code.slice(open, closing(code, open)).includes('onError:');
  }).length;
}

if (import.meta.main) {
  const findings = tidy(readSources(['{src,sim,test,bench,tools}/**/*.ts']));
  for (const { path, line, text } of findings) process.stdout.write(`${path}:${line} ${text}\n`);
  process.exitCode = findings.length > 0 ? 1 : 0;
}
