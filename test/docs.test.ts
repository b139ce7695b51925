// The parts of docs/ that repeat the code are up to date, and what the docs point at exists.

import { existsSync, globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { boundsOf, renewed, WRITTEN_DOCS } from '../tools/docs.ts';
import { readSources } from '../tools/sources.ts';

const sources = readSources(['src/**/*.ts']);

for (const doc of WRITTEN_DOCS) {
  test(`${doc} repeats the code as it is (else: npm run docs)`, (t) => {
    const text = readFileSync(doc, 'utf8');
    t.true(renewed(text, sources) === text, 'run "npm run docs" and read the difference');
  });
}

test('a new bound changes the table', (t) => {
  const file = { path: 'src/a.ts', text: '// Head.\n\n/** Most of it. */\nconst MAX_IT = 7;\n' };
  t.deepEqual(boundsOf([file]), [
    { name: 'MAX_IT', value: '7', path: 'src/a.ts', text: 'Most of it.' },
  ]);
  const doc = '<!-- begin bounds -->\n<!-- end -->';
  t.regex(renewed(doc, [file]), /\| `MAX_IT` \| `7` \| a\.ts \| Most of it\. \|/);
});

test('links between the documents lead somewhere', (t) => {
  for (const doc of ['README.md', ...globSync('docs/**/*.md')]) {
    for (const match of readFileSync(doc, 'utf8').matchAll(/\]\((?!https?:)([^)#]+)[^)]*\)/g)) {
      const target = path.join(path.dirname(doc), match[1] as string);
      t.true(existsSync(target), `${doc} points at ${match[1]}`);
    }
  }
});
