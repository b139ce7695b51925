// Volumes that nobody holds and that move (S8): who takes them, when, how many, and who gets them instead.

import test from 'ava';
import { viewOf } from '../src/core/cluster-state.ts';
import type { GenerationId, NodeId, VolumeId } from '../src/core/ids.ts';
import type { MoveStatus } from '../src/core/move-progress.ts';
import type { ClusterView, Volume } from '../src/core/view.ts';
import { moverOf } from '../src/core/volume-move.ts';
import type { Datapath } from '../src/datapath/datapath.ts';
import { LET_GO_MS, MAX_KEPT_VOLUMES, MOVER_IDLE_MS, MoveDuties } from '../src/move-duties.ts';
import { type Frame, OP, replyTo, STATUS } from '../src/wire/frame.ts';
import { encodeMoves } from '../src/wire/moves.ts';
import { FakeClock } from './datapath/fake-clock.ts';
import { clusterOf, entryBodies as make, nodeId, type StateCell } from './fixtures.ts';

/** What a session was asked. */
class FakeSession {
  kept = 0;
  isUsable = true;
  readonly open = { state: 'held' };
  hasGuest = false;

  keep(): void {
    this.kept += 1;
  }

  async unkeep(): Promise<void> {
    this.kept -= 1;
  }

  letGo(): boolean {
    return !this.hasGuest;
  }
}

function status(volume: number, generation: number): MoveStatus {
  return {
    ...{ volume: volume as VolumeId, generation: generation as GenerationId, stage: 'copying' },
    ...{ reason: '', startedMs: 1, stageMs: 1, totalBytes: 10, doneBytes: 5 },
    ...{ bytesPerSecond: 1, leftMs: 5000 },
  };
}

/** One node's duties; `answer` is what the others say. */
function dutiesOf(
  cell: StateCell,
  self: number,
  answer: (frame: Frame) => Frame | undefined = () => undefined,
) {
  const clock = new FakeClock();
  const sessions = new Map<VolumeId, FakeSession>();
  const asked: [NodeId, number][] = [];
  let own: MoveStatus[] = [];
  const datapath = {
    openVolume: ({ id }: Volume) => {
      const session = sessions.get(id) ?? new FakeSession();
      sessions.set(id, session);
      return session;
    },
    holderOf: (id: VolumeId) => sessions.get(id),
    moves: () => own,
  } as unknown as Datapath;
  const duties = new MoveDuties({
    ...{ self: nodeId(self), clock, datapath: () => datapath },
    trace: { event: () => {}, count: () => {}, warn: () => {} },
    view: () => viewOf(cell.state),
    peers: {
      request: (node, frame, _deadline, done) => {
        asked.push([node, frame.op]);
        done(answer(frame));
      },
    },
  });
  const tell = (moves: MoveStatus[]): void => {
    own = moves;
  };
  return { clock, duties, sessions, asked, tell, follow: () => duties.follow(viewOf(cell.state)) };
}

/** Volumes that move and are free. */
function moving(count: number): { cell: StateCell; view: () => ClusterView } {
  const cell = clusterOf({ nodes: 4, copies: 3 });
  cell.apply({ type: 'policyCreate', copies: 2, minCopies: 2, strict: false });
  for (let volume = 1; volume <= count; volume += 1) {
    cell.apply(make.volumeCreate({ name: `disk-${volume}` }));
    cell.apply(make.moveStart({ volume, token: 0, policy: 1 }));
  }
  return { cell, view: () => viewOf(cell.state) };
}

test('one member takes a free volume, after a while in which a guest could have come', (t) => {
  const { cell, view } = moving(1);
  const volume = view().volumes.get(1 as VolumeId) as Volume;
  const mover = moverOf(view(), volume) as number;
  const [one, other] = [dutiesOf(cell, mover), dutiesOf(cell, (mover % 4) + 1)];
  for (const { follow, clock } of [one, other]) {
    follow();
    clock.run(MOVER_IDLE_MS - 1);
  }
  t.is(one.sessions.size, 0);
  for (const { clock } of [one, other]) clock.run(2 * MOVER_IDLE_MS);
  t.is(one.sessions.get(1 as VolumeId)?.kept, 1);
  t.is(other.sessions.size, 0);
  cell.apply(make.lockAcquire({ token: 0, node: mover }));
  one.follow();
  one.clock.run(10 * MOVER_IDLE_MS);
  t.is(one.sessions.get(1 as VolumeId)?.kept, 1, 'once');
  cell.apply(make.volumeMove({ token: 1, head: view().moves.get(1 as VolumeId)?.generation ?? 0 }));
  one.follow();
  t.is(one.sessions.get(1 as VolumeId)?.kept, 0, 'it has moved');
});

test('a guest comes first: a volume that is held, or was free for less, is left alone', (t) => {
  const { cell, view } = moving(1);
  const mover = moverOf(view(), view().volumes.get(1 as VolumeId) as Volume) as number;
  const { clock, follow, sessions } = dutiesOf(cell, mover);
  let token = 0;
  for (let round = 0; round < 5; round += 1) {
    cell.apply(make.lockAcquire({ token, node: 3 }));
    follow();
    clock.run(5000);
    token += 1;
    cell.apply(make.lockRelease({ token }));
    follow();
    clock.run(MOVER_IDLE_MS - 100);
  }
  t.is(sessions.size, 0);
  clock.run(2 * MOVER_IDLE_MS);
  t.is(sessions.size, 1);
  const session = sessions.get(1 as VolumeId) as FakeSession;
  session.open.state = 'standby';
  follow();
  t.is(session.kept, 0, 'somebody was quicker');
});

test('no more than a few at once; the next one when one is done', (t) => {
  const { cell, view } = moving(24);
  const { clock, follow, sessions } = dutiesOf(cell, 2);
  follow();
  clock.run(3 * MOVER_IDLE_MS);
  t.is(sessions.size, MAX_KEPT_VOLUMES);
  const [first] = sessions.keys();
  cell.apply(make.moveCancel({ volume: first as number, token: 0 }));
  t.false(view().moves.has(first as VolumeId));
  follow();
  t.is(sessions.size, MAX_KEPT_VOLUMES + 1);
});

test('a volume whose new copies can not be written is not taken', (t) => {
  const { cell, view } = moving(1);
  for (const node of [3, 4]) {
    cell.apply(make.nodesDown({ nodes: [[node, 1]], baseEpoch: cell.state.epoch }));
  }
  const mover = moverOf(view(), view().volumes.get(1 as VolumeId) as Volume) as number;
  const { clock, follow, sessions } = dutiesOf(cell, mover);
  follow();
  clock.run(20_000);
  t.is(sessions.size, 0);
});

test('letting go: asked of the holder, waited for until the map says so, and not for ever', async (t) => {
  const { cell, view } = moving(1);
  cell.apply(make.lockAcquire({ token: 0, node: 2 }));
  const held = (): Volume => view().volumes.get(1 as VolumeId) as Volume;
  const says = (code: Frame['status']) => (frame: Frame) => replyTo(frame, code as never);
  const refusing = dutiesOf(cell, 1, says(STATUS.BUSY));
  t.false(await refusing.duties.letGo(held()), 'it has a guest');
  t.deepEqual(refusing.asked, [[nodeId(2), OP.HANDOVER]]);
  t.false(await dutiesOf(cell, 1).duties.letGo(held()), 'it does not answer');
  const silent = dutiesOf(cell, 1, says(STATUS.OK));
  const never = silent.duties.letGo(held());
  silent.clock.run(LET_GO_MS);
  t.false(await never);
  const good = dutiesOf(cell, 1, says(STATUS.OK));
  const soon = good.duties.letGo(held());
  cell.apply(make.lockRelease({ token: 1 }));
  good.follow();
  t.true(await soon);
  t.true(await good.duties.letGo(held()), 'free already');
});

test('how all moves are: each holder is asked once, and where nobody says the map does', async (t) => {
  const { cell, view } = moving(3);
  cell.apply(make.lockAcquire({ volume: 1, token: 0, node: 2 }));
  cell.apply(make.lockAcquire({ volume: 2, token: 0, node: 3 }));
  const generationOf = (id: number): number => view().moves.get(id as VolumeId)?.generation ?? 0;
  const answer = (frame: Frame): Frame => {
    const made = replyTo(frame, STATUS.OK);
    made.payload = encodeMoves([status(2, generationOf(2))]);
    return made;
  };
  const { duties, asked, tell } = dutiesOf(cell, 2, answer);
  tell([status(1, generationOf(1))]);
  const found = await duties.all();
  t.deepEqual(asked, [[nodeId(3), OP.MOVES]]);
  t.deepEqual(
    found.map(({ volume, stage }) => [Number(volume), stage]),
    [
      [1, 'copying'],
      [2, 'copying'],
      [3, 'waiting'],
    ],
  );
  t.regex(found[2]?.reason ?? '', /n\d copies it in its turn/);
  const garbage = dutiesOf(cell, 1, (frame) => ({
    ...answer(frame),
    payload: new Uint8Array([9, 9]),
  }));
  const [one] = await garbage.duties.all();
  t.regex(one?.reason ?? '', /n2 has not begun/);
});
