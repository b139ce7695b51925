// A process that looks like `sheep` to the supervisor of a dev cluster: same flags, same socket, a fake node inside. The
// nodes of one cluster share their map log as a file beside their data directories.

import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { parseApiAddress, serveApi } from '../../src/api/http-server.ts';
import type { EntryBody } from '../../src/core/log-entry.ts';
import { FAKE_TOKEN, FakeNode } from '../api/fake-node.ts';
import { entryBodies, StateCell, settle } from '../fixtures.ts';

const SYNC_MS = 10;
/** Until a node that is no member any more has heard so. */
const TOLD_MS = 300;

const { values } = parseArgs({
  options: {
    data: { type: 'string', default: '' },
    listen: { type: 'string' },
    zone: { type: 'string', default: 'z' },
    nbd: { type: 'string', multiple: true },
    api: { type: 'string', default: '' },
    journal: { type: 'string' },
    join: { type: 'string' },
  },
});

/** A cell whose entries are lines of a file that all nodes append to. */
class SharedCell extends StateCell {
  readonly #file: string;
  #read = 0;

  constructor(file: string) {
    super();
    this.#file = file;
    this.sync();
  }

  sync(): void {
    const text = fs.existsSync(this.#file) ? fs.readFileSync(this.#file, 'utf8') : '';
    const lines = text.split('\n').filter(Boolean);
    for (const line of lines.slice(this.#read)) super.apply(JSON.parse(line) as EntryBody);
    this.#read = lines.length;
  }

  override apply(body: EntryBody) {
    this.sync();
    fs.appendFileSync(this.#file, `${JSON.stringify(body)}\n`);
    this.#read += 1;
    return super.apply(body);
  }
}

const identityFile = path.join(values.data, 'identity');
if (fs.existsSync(path.join(values.data, 'broken'))) {
  process.stderr.write('the data directory is broken\n');
  process.exit(1);
}
const isForgotten = fs.existsSync(path.join(values.data, 'forgotten'));
const isAlone = fs.existsSync(path.join(values.data, 'alone'));
const cell = new SharedCell(path.join(values.data, '..', 'fake.log'));
const known = fs.existsSync(identityFile) ? Number(fs.readFileSync(identityFile, 'utf8')) : 0;
const node = new FakeNode(cell, known);
if (known > 0) {
  const incarnation = (cell.state.members.get(known as never)?.incarnation ?? 0) + 1;
  cell.apply(entryBodies.nodeUp({ node: known, incarnation }));
  settle(cell);
} else if (values.join === FAKE_TOKEN) {
  await node.join(values.join, { zone: values.zone, weight: 1 });
}
setInterval(() => {
  cell.sync();
  if (node.number > 0 && !fs.existsSync(identityFile))
    fs.writeFileSync(identityFile, String(node.number));
}, SYNC_MS);
if (node.number > 0) fs.writeFileSync(identityFile, String(node.number));
if (isForgotten || isAlone) {
  const status = node.status();
  node.status = () => ({ ...status, phase: 'starting', waitingFor: 'a quorum of the voters' });
}
// It asks the others first.
if (isForgotten) {
  setTimeout(() => {
    process.stderr.write('sheep: n2 was lost by an operator (join with an empty directory)\n');
    process.exit(1);
  }, TOLD_MS);
}
const server = await serveApi(node, parseApiAddress(values.api));
process.stdout.write(`fake sheep on ${server.address}\n`);
process.once('SIGTERM', async () => {
  await server.stop();
  process.stdout.write('orderly end\n');
  process.exit(0);
});
