// `npm test`: brings what the tests need (packages of npm, tools of Debian), then runs them on the pinned node.
// Plain JavaScript without packages: it runs before anything is installed.

import { spawn } from 'node:child_process';
import path from 'node:path';
import { ensureDebianPackages } from './debian.js';
import { ensurePackages, pinnedNode, ROOT, scriptEnvironment } from './packages.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];

try {
  ensurePackages();
  ensureDebianPackages();
  const runner = path.join(ROOT, 'tools', 'run-tests.ts');
  const child = spawn(pinnedNode(), [runner, ...process.argv.slice(2)], {
    cwd: ROOT,
    stdio: 'inherit',
    env: scriptEnvironment(),
  });
  for (const signal of SIGNALS) process.on(signal, () => child.kill(signal));
  child.on('exit', (code, signal) => process.exit(signal === null ? code : 1));
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exit(2);
}
