import test from 'ava';
import { OperatingError } from '../../src/core/errors.ts';
import { KIB, MIB } from '../../src/core/units.ts';
import { MAX_CHOSEN_DIFFS } from '../../src/nbd/meta-contexts.ts';
import { COMMAND_FLAG, ERRNO, readU32 } from '../../src/nbd/nbd-codec.ts';
import {
  encodeInfoRequest,
  encodeMetaRequest,
  encodeOption,
  OPTION,
  REPLY,
} from '../../src/nbd/option-codec.ts';
import { type Rig, request, rigOf, structuredReplies } from './duplex.ts';
import { MemoryVolume } from './memory-volume.ts';

const NOTHING = new Uint8Array(0);
const ALLOCATION = 'base:allocation';
const DEPTH = 'x-sheepdog:allocation-depth';
const BLOCK_STATUS = 5;

const ask = (option: number, name: string, queries: readonly string[]) =>
  encodeOption(option, encodeMetaRequest(name, queries));
const structured = encodeOption(OPTION.structuredReply, NOTHING);
const go = (name: string) => encodeOption(OPTION.go, encodeInfoRequest(name, []));

/** Data in the second and third region of 64 KiB. */
function disk(): MemoryVolume {
  const volume = new MemoryVolume('disk', 4 * MIB);
  volume.bytes.fill(1, 64 * KIB, 192 * KIB);
  return volume;
}

function contexts(rig: Rig): string[] {
  return rig
    .options()
    .filter((one) => one.reply === REPLY.metaContext)
    .map((one) => `${readU32(one.data, 0)} ${new TextDecoder().decode(one.data.subarray(4))}`);
}

function attachedWith(volume: MemoryVolume, queries: readonly string[], of = 'disk'): Rig {
  const rig = rigOf([volume, new MemoryVolume('other', MIB)]);
  rig.send(structured, ask(OPTION.setMetaContext, of, queries), go('disk'));
  rig.channel.take();
  return rig;
}

/** Each chunk as `context: length flags, ...` */
function status(rig: Rig, fields: Parameters<typeof request>[1]): string[] {
  rig.send(request('blockStatus', { cookieLow: 9, ...fields }));
  return structuredReplies(rig.channel.take()).map((one) => {
    if (one.type !== BLOCK_STATUS) return `error ${one.errno}`;
    const extents: string[] = [];
    for (let at = 4; at < one.data.length; at += 8) {
      extents.push(`${readU32(one.data, at) / KIB} ${readU32(one.data, at + 4)}`);
    }
    return `${readU32(one.data, 0)}: ${extents.join(', ')}${one.isLast ? '.' : ''}`;
  });
}

test('contexts are listed: all, by name, by namespace', (t) => {
  const rig = rigOf([disk()]);
  rig.send(structured);
  rig.options();
  const listed = (...queries: string[]) => {
    rig.send(ask(OPTION.listMetaContext, 'disk', queries));
    return contexts(rig);
  };
  t.deepEqual(listed(), [`1 ${ALLOCATION}`, `2 ${DEPTH}`]);
  t.deepEqual(listed(DEPTH), [`2 ${DEPTH}`]);
  t.deepEqual(listed('base:'), [`1 ${ALLOCATION}`]);
  t.deepEqual(listed('qemu:', 'base:nothing', ''), []);
});

test('the allocation of a range is told in the words of each context, the last chunk is marked', (t) => {
  const rig = attachedWith(disk(), [DEPTH, ALLOCATION, 'qemu:dirty-bitmap:x']);
  t.deepEqual(status(rig, { length: MIB }), ['1: 64 3, 128 0, 832 3', '2: 64 0, 128 1, 832 0.']);
  t.deepEqual(status(rig, { offset: 96 * KIB, length: 32 * KIB }), ['1: 32 0', '2: 32 1.']);
});

test('layers: the depth of each region; where only the layer differs base:allocation says one extent', (t) => {
  const volume = disk();
  volume.layers.set(2, 3);
  // Own zeroes beside what nobody ever wrote.
  volume.layers.set(3, 1);
  const rig = attachedWith(volume, [DEPTH, ALLOCATION]);
  t.deepEqual(status(rig, { length: MIB }), [
    '1: 64 3, 128 0, 832 3',
    '2: 64 0, 64 1, 64 3, 832 0.',
  ]);
  const one = { offset: 64 * KIB, length: MIB, flags: COMMAND_FLAG.reqOne };
  t.deepEqual(status(rig, one), ['1: 128 0', '2: 64 1.']);
});

const DIFF = 'x-sheepdog:diff:';

/** `disk` with two snapshots: of the first all regions are its own, of the second one is. */
function snapshotted(): { volumes: MemoryVolume[]; disk: MemoryVolume } {
  const volume = disk();
  volume.generation = 3;
  volume.layers.set(1, 3).set(2, 2);
  volume.bytes.fill(5, 512 * KIB, 640 * KIB);
  const [first, second] = ['disk@first', 'disk@second'].map((name, i) => {
    const one = new MemoryVolume(name, 2 * MIB);
    one.generation = 1 + i;
    one.bytes.fill(1, 64 * KIB, 192 * KIB);
    return one;
  }) as [MemoryVolume, MemoryVolume];
  second.layers.set(1, 2);
  first.bytes.fill(9, 320 * KIB, 384 * KIB);
  return { volumes: [volume, first, second], disk: volume };
}

test('diffs are listed for the snapshots of the volume, and offered by name; unknown ones are not', (t) => {
  const { volumes } = snapshotted();
  const rig = rigOf([...volumes, new MemoryVolume('other', MIB), new MemoryVolume('other@x', MIB)]);
  rig.send(structured);
  rig.options();
  const said = (option: number, of: string, ...queries: string[]) => {
    rig.send(ask(option, of, queries));
    return contexts(rig);
  };
  const both = [`3 ${DIFF}first`, `4 ${DIFF}second`];
  const list = OPTION.listMetaContext;
  t.deepEqual(said(list, 'disk'), [`1 ${ALLOCATION}`, `2 ${DEPTH}`, ...both]);
  t.deepEqual(said(list, 'disk', 'x-sheepdog:'), [`2 ${DEPTH}`, ...both]);
  t.deepEqual(said(list, 'disk', DIFF), both);
  t.deepEqual(said(list, 'disk@second', DIFF), both, 'of a snapshot, too');
  t.deepEqual(said(list, 'other', DIFF), [`3 ${DIFF}x`]);
  t.deepEqual(said(list, 'disk', `${DIFF}x`, `${DIFF}second`), [`3 ${DIFF}second`]);
  const set = OPTION.setMetaContext;
  t.deepEqual(said(set, 'disk', `${DIFF}nobody`, DIFF, DEPTH), [`2 ${DEPTH}`]);
  t.deepEqual(said(set, 'other', `${DIFF}first`), []);
});

test('a diff tells what changed since the snapshot, and what of it is zeroes now', (t) => {
  const { volumes, disk: volume } = snapshotted();
  const rig = rigOf(volumes);
  const names = [`${DIFF}first`, `${DIFF}second`, ALLOCATION];
  rig.send(structured, ask(OPTION.setMetaContext, 'disk', names), go('disk'));
  rig.channel.take();
  t.deepEqual(
    volumes.map((one) => one.connections),
    [1, 0, 0],
    'nobody is kept before it is asked for',
  );
  t.deepEqual(status(rig, { length: MIB }), [
    '1: 64 3, 128 0, 320 3, 128 0, 384 3',
    '3: 128 0, 64 1, 128 0, 64 3, 128 0, 128 1, 384 0',
    '4: 512 0, 128 1, 384 0.',
  ]);
  volume.bytes.fill(1, 3 * MIB, 4 * MIB);
  const beyond = { offset: MIB, length: 3 * MIB };
  t.is(status(rig, beyond)[1], '3: 2048 0, 1024 1', 'beyond the end of the snapshot');
  const one = { length: MIB, flags: COMMAND_FLAG.reqOne };
  t.deepEqual(status(rig, one), ['1: 64 3', '3: 128 0', '4: 512 0.']);
  t.deepEqual(
    volumes.map((each) => each.connections),
    [1, 1, 1],
  );
  rig.connection.onClose();
  t.deepEqual(
    volumes.map((each) => each.connections),
    [0, 0, 0],
  );
});

test('a snapshot that is deleted meanwhile is an error of the request, before and after it was opened', (t) => {
  const { volumes } = snapshotted();
  const rig = rigOf(volumes);
  rig.send(structured, ask(OPTION.setMetaContext, 'disk', [`${DIFF}first`]), go('disk'));
  rig.channel.take();
  const [gone] = volumes.splice(1, 1);
  const failed = [`error ${ERRNO.EIO}`];
  t.deepEqual(status(rig, { length: MIB }), failed);
  volumes.push(gone as MemoryVolume);
  t.is(status(rig, { length: MIB }).length, 1);
  (gone as MemoryVolume).failure = new OperatingError('gone', 'disk@first was deleted');
  t.deepEqual(status(rig, { length: MIB }), failed);
  rig.connection.onClose();
  t.is(gone?.connections, 0);
});

test('one connection compares with so many snapshots and no more', (t) => {
  const tags = Array.from({ length: MAX_CHOSEN_DIFFS + 1 }, (_, i) => `t${i}`);
  const rig = rigOf([disk(), ...tags.map((tag) => new MemoryVolume(`disk@${tag}`, MIB))]);
  rig.send(structured);
  rig.options();
  const queries = tags.map((tag) => `${DIFF}${tag}`);
  rig.send(ask(OPTION.setMetaContext, 'disk', queries));
  t.deepEqual(
    rig.options().map((one) => one.reply),
    [REPLY.errTooBig],
  );
  rig.send(ask(OPTION.setMetaContext, 'disk', queries.slice(1)));
  t.is(contexts(rig).length, MAX_CHOSEN_DIFFS);
});

test('a snapshot that another node made a moment ago is looked up (C2.3)', async (t) => {
  const { volumes } = snapshotted();
  const [known, late] = [volumes.slice(0, 1), volumes[1] as MemoryVolume];
  const asked: string[] = [];
  const rig = rigOf(known, 3, (name) => {
    asked.push(name);
    known.push(late);
    return Promise.resolve();
  });
  rig.send(structured, ask(OPTION.setMetaContext, 'disk', [DEPTH, `${DIFF}first`]));
  await new Promise((resolve) => setImmediate(resolve));
  t.deepEqual(asked, ['disk@first']);
  t.deepEqual(contexts(rig), [`2 ${DEPTH}`, `3 ${DIFF}first`]);
});

test('REQ_ONE gets one extent, within the request', (t) => {
  const rig = attachedWith(disk(), [ALLOCATION]);
  t.deepEqual(status(rig, { length: MIB, flags: COMMAND_FLAG.reqOne }), ['1: 64 3.']);
  const inside = { offset: 64 * KIB, length: 4 * KIB, flags: COMMAND_FLAG.reqOne };
  t.deepEqual(status(rig, inside), ['1: 4 0.']);
});

test('without a context, for another export, or after a later choice, BLOCK_STATUS is EINVAL', (t) => {
  const refused = [`error ${ERRNO.EINVAL}`];
  t.deepEqual(status(attachedWith(disk(), []), { length: MIB }), refused);
  t.deepEqual(status(attachedWith(disk(), [ALLOCATION], 'other'), { length: MIB }), refused);
  t.deepEqual(status(attachedWith(disk(), ['base:']), { length: MIB }), refused);
  const rig = rigOf([disk()]);
  const wrong = encodeOption(OPTION.setMetaContext, Uint8Array.of(1));
  rig.send(structured, ask(OPTION.setMetaContext, 'disk', [ALLOCATION]), wrong, go('disk'));
  rig.channel.take();
  t.deepEqual(status(rig, { length: MIB }), refused, 'a choice that failed is none');
  const fine = attachedWith(disk(), [ALLOCATION]);
  t.deepEqual(status(fine, { length: 0 }), refused);
  t.deepEqual(status(fine, { offset: 4 * MIB - 1, length: 2 }), refused, 'past the end');
});

test('an error of the session is told with its text', (t) => {
  const volume = disk();
  const rig = attachedWith(volume, [ALLOCATION]);
  volume.failure = new OperatingError('fenced', 'taken over by n2');
  rig.send(request('blockStatus', { length: MIB }));
  const [error] = structuredReplies(rig.channel.take());
  t.is(error?.errno, ERRNO.EIO);
  t.is(error?.text, 'taken over by n2');
  t.is(volume.inFlight, 0);
});
