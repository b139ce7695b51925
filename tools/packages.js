// Which packages of the lock file are not, or not in that version, in node_modules. Plain JavaScript without packages:
// it runs before anything is installed, under whatever node started npm.

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
/** An empty cache and a slow line included. */
const INSTALL_TIMEOUT_MS = 10 * 60 * 1000;

/** Installs what the lock file names when something is missing or stale; says so in one line; throws a sentence. */
export function ensurePackages() {
  if (isInstalled()) return;
  process.stderr.write(
    'Installing the packages of package-lock.json (once; half a minute or so) ...\n',
  );
  const options = ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error'];
  const { command, args } = npmCommand(options);
  const result = spawnSync(command, args, {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: INSTALL_TIMEOUT_MS,
    encoding: 'utf8',
    env: { ...process.env, npm_config_loglevel: 'error' },
  });
  if (result.status === 0 && isInstalled()) return;
  const cause = result.error?.message ?? (lastLines(result.stderr) || lastLines(result.stdout));
  throw new Error(`npm could not install the packages: ${cause || `exit ${result.status}`}`);
}

/** The pinned node, after `ensurePackages`. */
export function pinnedNode() {
  return path.join(ROOT, 'node_modules', 'node', 'bin', 'node');
}

/** The environment in which npm's scripts find the pinned node and the packages' commands first. */
export function scriptEnvironment() {
  const binaries = path.join(ROOT, 'node_modules', '.bin');
  return { ...process.env, PATH: `${binaries}${path.delimiter}${process.env.PATH ?? ''}` };
}

function isInstalled() {
  if (!existsSync(pinnedNode())) return false;
  const wanted = packagesIn('package-lock.json');
  const present = packagesIn('node_modules/.package-lock.json');
  return Object.entries(wanted).every(([name, entry]) => {
    if (name === '') return true;
    const found = present[name];
    if (found === undefined) return entry.optional === true || entry.devOptional === true;
    return found.version === entry.version;
  });
}

function packagesIn(file) {
  try {
    return JSON.parse(readFileSync(path.join(ROOT, file), 'utf8')).packages ?? {};
  } catch {
    return {};
  }
}

function npmCommand(args) {
  const npm = process.env.npm_execpath;
  if (npm?.endsWith('.js')) return { command: process.execPath, args: [npm, ...args] };
  return { command: 'npm', args };
}

function lastLines(text) {
  return (text ?? '').trim().split('\n').slice(-5).join('\n');
}
