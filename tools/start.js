// `npm start`: a cluster of three nodes on this host, in the foreground, with one volume to try. Installs first what is
// missing. Arguments go on to `dog dev up`. Plain JavaScript without packages: it runs before anything is installed.

import { spawn } from 'node:child_process';
import path from 'node:path';
import { ensurePackages, pinnedNode, ROOT, scriptEnvironment } from './packages.js';

const DEFAULTS = { '--dir': '.sheepdog', '--nodes': '3', '--copies': '3', '--volume': 'demo:1G' };
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];

function argumentsWithDefaults(given) {
  const isGiven = (option) =>
    given.some((word) => word === option || word.startsWith(`${option}=`));
  const missing = Object.entries(DEFAULTS).filter(([option]) => !isGiven(option));
  return [...missing.flat(), ...given];
}

function start() {
  ensurePackages();
  const dog = path.join(ROOT, 'bin', 'dog');
  const args = [dog, 'dev', 'up', ...argumentsWithDefaults(process.argv.slice(2))];
  const child = spawn(pinnedNode(), args, {
    cwd: ROOT,
    stdio: 'inherit',
    env: scriptEnvironment(),
  });
  // A terminal sends Ctrl-C to the whole group; the child knows that a second one means the same as the first.
  for (const signal of SIGNALS) process.on(signal, () => child.kill(signal));
  child.on('exit', (code, signal) => process.exit(signal === null ? code : 1));
}

try {
  start();
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exit(2);
}
