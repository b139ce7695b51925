// What bin/dog and bin/sheep share, for any node: under one that is too old it starts the pinned node instead, which
// npm put beside this project; under a fit one it loads the program into this very process. Plain old JavaScript on
// purpose: an old node must be able to read it in order to say that it is too old.
'use strict';

const { spawn, spawnSync } = require('node:child_process');
const { existsSync, readdirSync, readFileSync, statSync, writeFileSync } = require('node:fs');
const nodeModule = require('node:module');
const path = require('node:path');
const { pathToFileURL } = require('node:url');

/** Types are stripped without a flag or a warning from this version on. */
const OLDEST_NODE = 24;
const FORWARDED_SIGNALS = ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGUSR2'];
const ROOT = path.resolve(__dirname, '..');
/** Stripped and compiled modules, named by their contents: a start needs a third of the time and 20 MiB less memory. */
const CODE_CACHE = path.join(ROOT, 'node_modules', '.cache', 'sheepdog');

const WARM_MARK = path.join(CODE_CACHE, 'warm');

/**
 * Runs the program: dist/ when built, else src/. `built` and `source` are paths from the project's root. `isLasting`
 * programs fill a cold cache in another process first: what strips types stays in memory for good.
 */
exports.run = function run(script, { built, source, isLasting }) {
  if (Number.parseInt(process.versions.node, 10) < OLDEST_NODE) return runPinned(script);
  const compiled = path.join(ROOT, built);
  const target = existsSync(compiled) ? compiled : path.join(ROOT, source);
  // Where it may not write, node goes on without a cache.
  nodeModule.enableCompileCache(CODE_CACHE);
  if (isLasting === true && target !== compiled && process.argv[2] !== '--version') warm(script);
  return import(pathToFileURL(target).href).then(
    // Now, not at the end: the next process of this cluster starts before this one ends.
    () => nodeModule.flushCompileCache(),
    (error) => {
      if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
      fail(`a part is missing (${error.message.split('\n')[0]}): run "npm install" in ${ROOT}`);
    },
  );
};

/** Once after each change of a source file. */
function warm(script) {
  const folder = path.join(ROOT, 'src');
  const files = readdirSync(folder, { recursive: true });
  const newest = Math.max(...files.map((file) => statSync(path.join(folder, file)).mtimeMs));
  const state = `${process.version} ${files.length} ${newest}`;
  try {
    if (existsSync(WARM_MARK) && readFileSync(WARM_MARK, 'utf8') === state) return;
    spawnSync(process.execPath, [script, '--version'], { stdio: 'ignore' });
    writeFileSync(WARM_MARK, state);
  } catch {
    // A folder that is not ours to write: it only costs time and memory.
  }
}

function runPinned(script) {
  const pinned = pinnedNode();
  if (pinned === undefined) {
    fail(
      `needs node ${OLDEST_NODE} or newer, this is ${process.version}: run "npm install" in ${ROOT}, ` +
        'which brings a fit one',
    );
  }
  const args = process.execArgv.concat(script, process.argv.slice(2));
  const child = spawn(pinned, args, { stdio: 'inherit' });
  for (const signal of FORWARDED_SIGNALS) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => fail(`can not start ${pinned}: ${error.message}`));
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code);
    for (const name of FORWARDED_SIGNALS) process.removeAllListeners(name);
    process.kill(process.pid, signal);
  });
}

function pinnedNode() {
  let candidates = [];
  try {
    candidates = [path.join(path.dirname(require.resolve('node/package.json')), 'bin', 'node')];
  } catch {
    // Not installed: the message says what to do.
  }
  return candidates.find((file) => existsSync(file));
}

function fail(text) {
  process.stderr.write(`${path.basename(process.argv[1] || 'dog')}: ${text}\n`);
  process.exit(2);
}
