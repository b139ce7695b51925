// Goal: what a node installs is what its maker had (A4). One member hands out snapshots whose state is not the one that
// they name, checksums made to fit, as broken memory would; a node that was away refuses them, gets a good one from
// somebody else, and is the same as the others.

import { digestOf } from '../../src/storage/map-snapshot.ts';
import { decodeControl, encodeControl, type SnapshotPiece } from '../../src/wire/messages.ts';
import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';

const ENTRIES = 80;
const VALUE = Buffer.from('membership/out-after');

/** Another value of a setting: the bytes are still those of a state. */
function changed(piece: SnapshotPiece): SnapshotPiece {
  const bytes = Uint8Array.from(piece.bytes);
  const at = Buffer.from(bytes).indexOf(VALUE);
  if (at < 0 || bytes.length !== piece.totalBytes) return piece;
  const digit = at + VALUE.length + 4;
  bytes[digit] = bytes[digit] === 0x37 ? 0x38 : 0x37;
  return { ...piece, bytes, digest: digestOf(bytes) };
}

export const badSnapshot = scenario(
  'bad-snapshot',
  { nodes: 4, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    const { random, world } = stage;
    await stage.form();
    const victim = stage.anyRunning();
    const liars = stage.running.filter((node) => node !== victim).slice(0, 2);
    const names = liars.map(({ name }) => name);
    if (random.chance(0.5)) victim.kill();
    else await victim.stop();
    await stage.run({ seconds: 5 });
    await stage.fillLog(ENTRIES);
    // The third one may be behind the others' logs, too, and would have none but liars to ask.
    await stage.run({ seconds: 1 });
    stage.cable.tamper = ({ plane, from, bytes }) => {
      if (plane !== 'control' || !names.includes(from)) return bytes;
      const said = decodeControl(bytes);
      if (said.kind !== 'reply' || said.body.type !== 'snapshotPiece') return bytes;
      return encodeControl({ ...said, body: changed(said.body) });
    };
    await victim.start();
    await stage.check.converges({ seconds: 120 });
    const isInstalled = world.records.some(
      ({ node, name }) => node === victim.name && name === 'map.snapshot.installed',
    );
    if (!isInstalled) throw new RunFailure('it came back without a snapshot');
    await stage.fillLog(5);
    await stage.check.converges({ seconds: 30 });
  },
);
