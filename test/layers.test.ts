// The floors of the house hold, and the check itself can fail.

import test from 'ava';
import { floorBreaks, importCycles } from '../tools/floors.ts';
import { importsOf, readSources } from '../tools/sources.ts';

const sources = readSources(['src/**/*.ts']);

test('imports go down only, and each package stays on its floor', (t) => {
  t.true(sources.length > 50, 'the sources were found');
  t.deepEqual(floorBreaks(sources), []);
});

test('there is no import cycle, types included', (t) => {
  t.deepEqual(importCycles(sources), []);
});

const BREAKS: readonly (readonly [string, string, string])[] = [
  ['core importing upward', 'src/core/a.ts', "import { x } from '../wire/b.ts';"],
  ['a type importing upward', 'src/core/a.ts', "import type { X } from '../ports/ports.ts';"],
  ['sideways on one floor', 'src/storage/a.ts', "import { x } from '../p2p/b.ts';"],
  ['the command line reading the node', 'src/cli/a.ts', "import { x } from '../api/b.ts';"],
  ['a re-export', 'src/datapath/a.ts', "export { x } from '../actors/b.ts';"],
  ['a dynamic import', 'src/datapath/a.ts', "const x = await import('../actors/b.ts');"],
  ['the roof from below', 'src/datapath/a.ts', "import { x } from '../build-node.ts';"],
  ['tests inside the product', 'src/core/a.ts', "import { x } from '../../test/fixtures.ts';"],
  ['xstate on the data path', 'src/datapath/a.ts', "import { setup } from 'xstate';"],
  ['files in the store', 'src/storage/a.ts', "import { openSync } from 'node:fs';"],
  ['an unknown package', 'src/core/a.ts', "import leftPad from 'left-pad';"],
  [
    'io used by nobody but the roof',
    'src/p2p/rpc-client.ts',
    "import { x } from '../io/fast-socket.ts';",
  ],
];

for (const [what, path, text] of BREAKS) {
  test(`refused: ${what}`, (t) => {
    t.is(floorBreaks([{ path, text: `// Header.\n${text}\n` }]).length, 1);
  });
}

test('a cycle of three files is named', (t) => {
  const file = (name: string, next: string) => ({
    path: `src/core/${name}.ts`,
    text: `import type { X } from './${next}.ts';\n`,
  });
  t.deepEqual(importCycles([file('a', 'b'), file('b', 'c'), file('c', 'a')]), [
    'src/core/a.ts -> src/core/b.ts -> src/core/c.ts -> src/core/a.ts',
  ]);
});

test('imports in comments and strings are none; lines are right', (t) => {
  const text = [
    "// import { a } from './no.ts';",
    'const s = "import { b } from \'./no.ts\'";',
    "import { c } from './yes.ts';",
    'import {',
    '  d,',
    "} from './two.ts';",
    "import './three.ts';",
    "export * from './four.ts';",
    "export const five = 'no';",
  ].join('\n');
  const found = importsOf(text).map(({ specifier, line }) => `${specifier} ${line}`);
  t.deepEqual(found, ['./yes.ts 3', './two.ts 4', './three.ts 7', './four.ts 8']);
});
