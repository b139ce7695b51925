// The style that a program can see holds, and each check can fail.

import test from 'ava';
import { codeOnly, readSources } from '../tools/sources.ts';
import { tapLine } from '../tools/tap.ts';
import { tidy } from '../tools/tidy.ts';

test('the tree is tidy', (t) => {
  const sources = readSources(['{src,sim,test,bench,tools}/**/*.ts']);
  t.true(sources.length > 80, 'the sources were found');
  t.deepEqual(
    tidy(sources).map(({ path, line, text }) => `${path}:${line} ${text}`),
    [],
  );
});

const LONG_BODY = Array.from({ length: 80 }, (_, at) => `  let v${at} = ${at};`).join('\n');
const H = '// Header.\n';
// Words that may not stand in our own text are put together here.
const FIX = ['FIX', 'ME'].join('');

const BAD: readonly (readonly [what: string, path: string, text: string])[] = [
  ['a file too long', 'src/core/a.ts', H + 'const a = 1;\n'.repeat(501)],
  ['a function too long', 'src/core/a.ts', `${H}function f(): void {\n${LONG_BODY}\n}\n`],
  [
    'a method too long',
    'src/io/a.ts',
    `${H}class C {\n  f(a: number): void {\n${LONG_BODY}\n  }\n}\n`,
  ],
  ['an arrow too long', 'src/io/a.ts', `${H}const f = (a: number): void => {\n${LONG_BODY}\n};\n`],
  ['a comment line too long', 'src/io/a.ts', `${H}// ${'a'.repeat(125)}\n`],
  ['no opening comment', 'src/core/a.ts', 'const a = 1;\n'],
  ['any', 'src/io/a.ts', `${H}let a: any;\n`],
  ['any in a generic', 'src/io/a.ts', `${H}let a: Map<string, any>;\n`],
  ['enum', 'src/io/a.ts', `${H}export enum A { B }\n`],
  ['default export', 'src/io/a.ts', `${H}export default 1;\n`],
  ['console', 'src/io/a.ts', `${H}console.log(1);\n`],
  ['a mark of unfinished work', 'src/io/a.ts', `${H}// ${FIX} later\n`],
  ['a bare error', 'src/io/a.ts', `${H}throw new Error('x');\n`],
  ['a clock in simulated code', 'src/datapath/a.ts', `${H}const t = Date.now();\n`],
  ['a timer in simulated code', 'src/actors/a.ts', `${H}setTimeout(f, 1);\n`],
  ['randomness in simulated code', 'src/core/a.ts', `${H}const r = Math.random();\n`],
  ['no docstring', 'src/core/a.ts', `${H}\nexport function f(): void {}\n`],
  ['invoke without onError', 'src/actors/a.ts', `${H}const m = { invoke: { src: 'x' } };\n`],
];

for (const [what, path, text] of BAD) {
  test(`found: ${what}`, (t) => {
    t.is(tidy([{ path, text }]).length, 1);
  });
}

const GOOD: readonly (readonly [what: string, path: string, text: string])[] = [
  [
    'words inside strings and comments',
    'src/core/a.ts',
    `${H}// any Date.now()\nconst a = 'any';\n`,
  ],
  ['a clock in a real port', 'src/io/a.ts', `${H}const t = performance.now();\n`],
  [
    'an invoke that handles its error',
    'src/actors/a.ts',
    `${H}x({ invoke: { src: 'x', onError: 'y' } });\n`,
  ],
  ['a documented export', 'src/core/a.ts', `${H}\n/** Does. */\nexport function f(): void {}\n`],
  ['an error class', 'src/core/a.ts', `${H}class A extends Error {}\n`],
  ['a function of 70 lines', 'src/io/a.ts', `${H}function f(): void {\n${'  a;\n'.repeat(68)}}\n`],
];

for (const [what, path, text] of GOOD) {
  test(`allowed: ${what}`, (t) => {
    t.deepEqual(tidy([{ path, text }]), []);
  });
}

test('code without comments and strings keeps its lines and columns', (t) => {
  const text = "a('x // y'); // z\nb(`1\n2`); /* c\n*/ d(/['\"]/g);\n";
  const code = codeOnly(text);
  t.is(code.length, text.length);
  t.is(code.split('\n').length, text.split('\n').length);
  t.false(/[xyz12c]/.test(code));
  t.true(code.includes('d('));
});

test('results are read from TAP, nothing else is', (t) => {
  t.is(tapLine('ok 1 - good'), 'passed');
  t.is(tapLine('not ok 2 - bad'), 'failed');
  t.is(tapLine('ok 3 - later # SKIP'), 'skipped');
  t.is(tapLine('# pass 3'), undefined);
  t.is(tapLine('  ok 1 - nested'), undefined);
});
