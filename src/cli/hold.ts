// A volume or snapshot as the node that is asked gives it for a while: `dog vdi read`, `write`, backups and restores move
// its bytes in pieces. The hold takes the volume's lock like a guest by its first I/O; it is given back whatever happens.

import { Agent } from 'node:http';
import { MIB } from '../core/units.ts';
import type { ExtentData, HoldData } from '../core/volume-shapes.ts';
import type { Extent } from '../streams/pieces.ts';
import { type FarVolume, MAX_PIECES_MOVING } from '../streams/volume-copy.ts';
import { ask, askBytes, findTarget, type Target } from './client.ts';
import type { GlobalOptions } from './context.ts';
import { PieceReader } from './piece-reader.ts';

/** As the node allows. */
const ZERO_BYTES = 64 * MIB;

export interface Hold {
  readonly volume: FarVolume;
  /** What is there takes all of its space from now on; at most an object at once. */
  preallocate(extent: Extent): Promise<void>;
  end(): Promise<void>;
}

/** The volume is given back whatever happens; what happened first is told. */
export async function using<T>(hold: Hold, work: () => Promise<T>): Promise<T> {
  let result: T;
  try {
    result = await work();
  } catch (error) {
    await hold.end().catch(() => undefined);
    throw error;
  }
  await hold.end();
  return result;
}

/** Of a volume, or of a snapshot `name@tag`. */
export async function holdOf(
  options: GlobalOptions,
  env: NodeJS.ProcessEnv,
  name: string,
): Promise<Hold> {
  const target = await findTarget(options, env);
  const timing = options.timeout === undefined ? {} : { timeoutMs: options.timeout };
  const route = `/v1/volumes/${encodeURIComponent(name)}/io`;
  const { data } = await ask<HoldData>(target, route, { method: 'POST', body: {}, ...timing });
  const { id, keepEveryMs } = data;
  const keep = setInterval(() => {
    ask(target, `/v1/io/${id}/keep`, { method: 'POST', body: {} }).catch(() => undefined);
  }, keepEveryMs);
  const agent = new Agent({ keepAlive: true, maxSockets: MAX_PIECES_MOVING });
  const reader = new PieceReader(target, options.timeout);
  return {
    volume: farVolume(target, data, reader, { agent, ...timing }),
    async preallocate({ offset, length }) {
      const at = `/v1/io/${id}/preallocate?offset=${offset}&length=${length}`;
      await ask(target, at, { method: 'POST', body: {}, agent, ...timing });
    },
    async end() {
      clearInterval(keep);
      agent.destroy();
      reader.end();
      await ask(target, `/v1/io/${id}`, { method: 'DELETE', ...timing });
    },
  };
}

function farVolume(
  target: Target,
  { id, pieceBytes, sizeBytes }: HoldData,
  reader: PieceReader,
  how: { readonly agent: Agent; readonly timeoutMs?: number },
): FarVolume {
  const base = `/v1/io/${id}`;
  return {
    sizeBytes,
    pieceBytes,
    zeroBytes: ZERO_BYTES,
    read({ offset, length }) {
      return reader.get(`${base}?offset=${offset}&length=${length}`);
    },
    async write({ offset, bytes }) {
      await askBytes(target, `${base}?offset=${offset}`, { method: 'POST', bytes, ...how });
    },
    async zero({ offset, length }) {
      const route = `${base}/zero?offset=${offset}&length=${length}`;
      await ask(target, route, { method: 'POST', body: {}, ...how });
    },
    async extents({ offset, length }) {
      const route = `${base}/extents?offset=${offset}&length=${length}`;
      return (await ask<readonly ExtentData[]>(target, route, { ...how })).data;
    },
  };
}
