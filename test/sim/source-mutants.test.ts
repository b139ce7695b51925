// The judges are judged, part two: rules broken in the source of the product are caught by their stories.

import { spawn } from 'node:child_process';
import path from 'node:path';
import test from 'ava';
import { SOURCE_MUTANTS } from '../../sim/mutants/source-mutants.ts';

const ROOT = path.join(import.meta.dirname, '..', '..');
const FAILED = 1;

for (const mutant of SOURCE_MUTANTS) {
  test.serial(`mutant ${mutant.name} is caught (${mutant.breaks})`, async (t) => {
    t.timeout(480_000);
    const hook = ['--import', './sim/mutants/break-source.ts', 'sim/run.ts'];
    const args = [...hook, '--scenario', mutant.story, '--seeds', String(mutant.seeds)];
    const env = { ...process.env, SIM_MUTANT: mutant.name };
    const child = spawn(process.execPath, args, { cwd: ROOT, env });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    }
    const code = await new Promise((resolve) => child.once('exit', resolve));
    t.is(code, FAILED, output);
    t.regex(output, /FAILED/, 'by a checker, not by an error of its own');
    t.log(output.split('\n')[0]);
  });
}
