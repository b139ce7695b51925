// `dog vdi alter-copy` for a person: what it answers, what it asks first, how far a move is, and when health calls it stuck.

import test from 'ava';
import type { GenerationId, VolumeId } from '../../src/core/ids.ts';
import type { MoveStatus } from '../../src/core/move-progress.ts';
import { FakeNode } from '../api/fake-node.ts';
import { served } from '../api/served.ts';
import { clusterOf, entryBodies as make } from '../fixtures.ts';
import { dog } from './dog.ts';

const MIB = 2 ** 20;

/** Four nodes, a volume of three copies that n2 holds. */
function held(): FakeNode {
  const cell = clusterOf({ nodes: 4, copies: 3 });
  cell.apply(make.volumeCreate());
  cell.apply(make.lockAcquire({ token: 0, node: 2 }));
  return new FakeNode(cell, 1);
}

function statusOf(node: FakeNode, changes: Partial<MoveStatus> = {}): MoveStatus {
  const generation = node.cell.state.moves.get(1 as VolumeId)?.generation ?? (0 as GenerationId);
  return {
    ...{ volume: 1 as VolumeId, generation, stage: 'copying', reason: '' },
    ...{ startedMs: Date.now(), stageMs: Date.now(), totalBytes: 200 * MIB, doneBytes: 50 * MIB },
    ...{ bytesPerSecond: 10 * MIB, leftMs: 15_000 },
    ...changes,
  };
}

test('alter-copy: begins, says that it is under way, and that there is nothing to do', async (t) => {
  const node = held();
  const { socketPath } = await served(t, node);
  const env = { SHEEPDOG_API: `unix:${socketPath}` };
  const run = (...args: string[]) => dog(['vdi', 'alter-copy', 'disk', ...args], env);
  t.is((await run()).out, 'disk stays as it is: 3 copies.\n');
  t.regex((await run('-c', '3')).out, /has 3 copies \(writes need 2\): there is nothing to do/);
  t.is(node.cell.state.moves.size, 0);
  t.is((await run('-c', '1')).code, 64, 'fewer copies are asked for first');
  t.regex((await run('-c', '1', '-f')).out, /^disk moves to 1 copy \(writes need 1\)/);
  t.regex((await run('-c', '1', '-f')).out, /on its way to 1 copy .* already/);
  t.is(node.cell.state.policies.size, 2, 'the policy is made once');
  const turned = await dog(
    ['--json', 'vdi', 'alter-copy', 'disk', '-c', '4', '--min-copies', '2'],
    env,
  );
  t.like(JSON.parse(turned.out).data, { answer: 'begun', copies: 4, minCopies: 2, strict: false });
  t.regex((await run('-c', '3')).out, /^disk stays at 3 copies/, 'back is a cancel');
  t.is(node.cell.state.moves.size, 0);
  t.regex((await run('--cancel')).out, /has 3 copies .* nothing to do/);
});

test('alter-copy: how far it is, also in show; never all of it before it is done', async (t) => {
  const node = held();
  const { socketPath } = await served(t, node);
  const env = { SHEEPDOG_API: `unix:${socketPath}` };
  await dog(['vdi', 'alter-copy', 'disk', '-c', '2', '-f'], env);
  node.movesNow = [statusOf(node)];
  const said = (await dog(['vdi', 'alter-copy', 'disk'], env)).out;
  t.is(
    said,
    'disk moves from 3 to 2 copies, copying, 50 MiB of 200 MiB (25 %), 10 MiB/s, 15 s left.\n',
  );
  t.regex((await dog(['vdi', 'show', 'disk'], env)).out, /moves to +2 copies, copying, 50 MiB of/);
  node.movesNow = [statusOf(node, { doneBytes: 200 * MIB, stage: 'finishing' })];
  t.regex((await dog(['vdi', 'alter-copy', 'disk'], env)).out, /finishing, .*\(99 %\)/);
  const raw = await dog(['-r', 'vdi', 'alter-copy', 'disk'], env);
  t.is(raw.out, `2\tfinishing\t${200 * MIB}\t${200 * MIB}\n`);
});

test('alter-copy: more copies than nodes is said as for a new volume, and the move waits in health', async (t) => {
  const node = held();
  const { socketPath } = await served(t, node);
  const env = { SHEEPDOG_API: `unix:${socketPath}` };
  const said = await dog(['vdi', 'alter-copy', 'disk', '-c', '5'], env);
  t.is(said.code, 0);
  t.regex(said.err, /DEGRADED: degraded: 4 of 5 copies live[\s\S]*use fewer copies \(-c 4\)/);
  t.notRegex((await dog(['cluster', 'health'], env)).out, /MOVE_STUCK/);
  const halted = await dog(['vdi', 'alter-copy', 'disk', '-c', '7', '--min-copies', '5'], env);
  t.regex(halted.err, /HALTED: halted: 4 of 7 copies live, writes need 5/);
  node.movesNow = [statusOf(node, { stage: 'waiting', stageMs: 0, startedMs: 0 })];
  const health = (await dog(['cluster', 'health'], env)).out;
  t.regex(
    health,
    /MOVE_STUCK: volume disk waits on its way to 7 copies: 4 of 7 copies could be written/,
  );
  t.regex(health, /dog vdi alter-copy disk --cancel/);
});

test('alter-copy: a copy that waits for long is stuck, one that has just begun to is not', async (t) => {
  const node = held();
  const { socketPath } = await served(t, node);
  const env = { SHEEPDOG_API: `unix:${socketPath}` };
  await dog(['vdi', 'alter-copy', 'disk', '-c', '2', '-f'], env);
  const reason = 'bytes from 4096 on can not be read';
  node.movesNow = [statusOf(node, { stage: 'waiting', reason })];
  t.notRegex((await dog(['cluster', 'health'], env)).out, /MOVE_STUCK/);
  node.movesNow = [statusOf(node, { stage: 'waiting', reason, stageMs: Date.now() - 40_000 })];
  t.regex((await dog(['cluster', 'health'], env)).out, /MOVE_STUCK.*bytes from 4096 on/);
  t.regex((await dog(['vdi', 'alter-copy', 'disk'], env)).out, /waits: bytes from 4096 on/);
  node.movesNow = [statusOf(node, { stage: 'waiting', reason, leftMs: 9000 })];
  t.notRegex((await dog(['vdi', 'alter-copy', 'disk'], env)).out, / left/, 'who knows how long');
  node.movesNow = [statusOf(node, { stage: 'counting', stageMs: Date.now() - 40_000 })];
  t.regex((await dog(['cluster', 'health'], env)).out, /MOVE_STUCK.*can not be told/);
  node.movesNow = [statusOf(node, { stageMs: Date.now() - 400_000 })];
  t.notRegex((await dog(['cluster', 'health'], env)).out, /MOVE_STUCK/, 'it copies, however long');
});

test('alter-copy: what makes no sense is refused before anybody is asked', async (t) => {
  const { socketPath } = await served(t, held());
  const env = { SHEEPDOG_API: `unix:${socketPath}` };
  const run = (...args: string[]) => dog(['vdi', 'alter-copy', ...args], env);
  t.is((await run('disk', '--cancel', '-c', '2')).code, 64);
  t.is((await run('disk', '--min-copies', '2')).code, 64);
  t.is((await run('disk', '-c', '99')).code, 64);
  t.is((await run('disk', '-c', '4', '--min-copies', '5')).code, 64);
  t.is((await run('none', '-c', '4')).code, 5);
  t.is((await run('none', '--cancel')).code, 5);
});
