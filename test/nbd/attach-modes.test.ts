// What a client is told of a volume's attach mode: the flags of the export, in both ways of attaching it, and the refusal of
// a second client, with the words of the node.

import test from 'ava';
import { viewOf } from '../../src/core/cluster-state.ts';
import { OperatingError } from '../../src/core/errors.ts';
import type { VolumeId } from '../../src/core/ids.ts';
import type { AttachMode } from '../../src/core/view.ts';
import { attachBar, heldError } from '../../src/datapath/attach-rules.ts';
import { Exports } from '../../src/nbd/exports.ts';
import { readU16 } from '../../src/nbd/nbd-codec.ts';
import { encodeInfoRequest, encodeOption, OPTION, REPLY } from '../../src/nbd/option-codec.ts';
import { clusterOf, entryBodies, nodeId, volumeLock } from '../fixtures.ts';
import { rigOf } from './duplex.ts';
import { MemoryVolume, memorySource } from './memory-volume.ts';

const READ_ONLY = 1 << 1;
const MULTI_CONN = 1 << 8;

function inMode(attachMode: AttachMode): MemoryVolume {
  const volume = new MemoryVolume('disk', 1 << 20);
  Object.assign(volume.volume, { attachMode });
  return volume;
}

function flagsBy(attachMode: AttachMode, option: number): number {
  const rig = rigOf([inMode(attachMode)]);
  if (option === OPTION.exportName) {
    rig.send(encodeOption(option, new TextEncoder().encode('disk')));
    return readU16(rig.channel.take(), 8);
  }
  rig.send(encodeOption(option, encodeInfoRequest('disk', [])));
  return readU16(rig.options()[0]?.data ?? new Uint8Array(0), 10);
}

test('shared-read is read-only, exclusive has no second connection, hand-over has neither bar', (t) => {
  for (const option of [OPTION.go, OPTION.info, OPTION.exportName]) {
    const seen = (mode: AttachMode) => flagsBy(mode, option) & (READ_ONLY | MULTI_CONN);
    t.is(seen('handover'), MULTI_CONN);
    t.is(seen('exclusive'), 0);
    t.is(seen('shared-read'), READ_ONLY | MULTI_CONN);
  }
});

test('who is refused beside a holder gets POLICY, and reads who has it', (t) => {
  const held = heldError(
    { name: 'disk', attachMode: 'exclusive' },
    volumeLock({ node: nodeId(2) }),
  );
  const volume = inMode('exclusive');
  const source = memorySource([volume]);
  const rig = rigOf([volume]);
  t.throws(
    () =>
      new Exports({
        ...source,
        open: () => {
          throw held;
        },
      }).attach('disk'),
    { code: 'held' },
  );
  volume.connect = () => {
    throw held;
  };
  rig.send(encodeOption(OPTION.go, encodeInfoRequest('disk', [])));
  const [refused] = rig.options();
  t.is(refused?.reply, REPLY.errPolicy);
  const text = new TextDecoder().decode(refused?.data);
  t.is(text, 'disk is held by n2, and its mode is exclusive');
});

test('exclusive: barred beside a live holder elsewhere, and beside a client here; not beside a dead one', (t) => {
  const cell = clusterOf({ nodes: 3 });
  cell.apply({ ...entryBodies.volumeCreate(), attachMode: 'exclusive' });
  const bar = (self: number, hasGuest: boolean) => {
    const view = viewOf(cell.state);
    const volume = view.volumes.get(1 as VolumeId);
    if (volume === undefined) throw new OperatingError('missing', 'no disk');
    return attachBar(view, volume, nodeId(self), hasGuest)?.code;
  };
  t.is(bar(1, false), undefined, 'nobody has it');
  t.is(bar(1, true), 'held', 'a client that has not read or written yet');
  cell.apply(entryBodies.lockAcquire({ token: 0, node: 2 }));
  t.is(bar(1, false), 'held');
  t.is(bar(2, true), 'held');
  t.is(bar(2, false), undefined, 'its own lock, whose session ends');
  cell.apply(entryBodies.nodesDown({ nodes: [[2, 1]], baseEpoch: cell.state.epoch }));
  t.is(bar(1, false), undefined);
});
