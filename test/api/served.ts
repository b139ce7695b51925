// A fake node behind the real HTTP front, on a unix socket in a directory of its own, gone at the end of the test.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import { parseApiAddress, serveApi } from '../../src/api/http-server.ts';
import type { DoorData } from '../../src/core/admin-shapes.ts';
import { FakeNode } from './fake-node.ts';

export interface Served {
  readonly node: FakeNode;
  readonly dir: string;
  readonly socketPath: string;
}

/** What every served node has counted. */
export const COUNTERS = new Map([
  ['store.checkpoints', 3],
  ['flush.asked', 12],
]);

export async function served(
  t: ExecutionContext,
  node = new FakeNode(),
  doors: readonly DoorData[] = [],
): Promise<Served> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sheep-api-'));
  const socketPath = path.join(dir, 'sheep.sock');
  const server = await serveApi(node, parseApiAddress(`unix:${socketPath}`), () => COUNTERS, doors);
  t.teardown(async () => {
    await server.stop();
    fs.rmSync(dir, { recursive: true, force: true });
  });
  return { node, dir, socketPath };
}
