// What nbdinfo, which other people wrote, says of layers and differences, region by region; and what a test knows of both.

import type { ExecutionContext } from 'ava';
import { REGION_BYTES } from '../../src/core/units.ts';
import { run, succeed } from '../nbd/tools.ts';

export type Regions = ReadonlySet<number>;

/** The regions that a write touches. */
export function regionsTouched(offset: number, length: number): number[] {
  const [first, last] = [offset, offset + length - 1].map((at) => Math.floor(at / REGION_BYTES));
  const [from = 0, to = 0] = [first, last];
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

/** The flags of each region of an export in one context. */
export async function flagsOf(
  t: ExecutionContext,
  uri: string,
  context: string,
): Promise<readonly number[]> {
  const { stdout } = await succeed(t, 'nbdinfo', [`--map=${context}`, '--json', uri]);
  const extents: { offset: number; length: number; type: number }[] = JSON.parse(stdout);
  return extents.flatMap(({ offset, length, type }) => {
    t.is(offset % REGION_BYTES, 0, context);
    return Array<number>(length / REGION_BYTES).fill(type);
  });
}

/** The depth that each region should have: of the topmost of these layers that touched it, counted from 1; 0 = none. */
export function depthsOf(layers: readonly Regions[], regions: number): readonly number[] {
  return Array.from({ length: regions }, (_, i) => 1 + layers.findIndex((one) => one.has(i)));
}

/**
 * The flags that each region should have: 1 = one of these layers touched it, 3 = and nothing is there now.
 * @param shown the layers that hold what is there now; absent: those that touched it
 */
export function changedBy(
  layers: readonly Regions[],
  regions: number,
  shown = layers,
): readonly number[] {
  return Array.from({ length: regions }, (_, i) => {
    if (!layers.some((one) => one.has(i))) return 0;
    return shown.some((one) => one.has(i)) ? 1 : 3;
  });
}

/** Export names as both list them. */
export async function listed(t: ExecutionContext, socket: string): Promise<readonly string[]> {
  const uri = `nbd+unix:///?socket=${socket}`;
  const { stdout } = await succeed(t, 'nbdinfo', ['--list', '--json', uri]);
  const names: string[] = JSON.parse(stdout).exports.map(
    (one: { 'export-name': string }) => one['export-name'],
  );
  const qemu = await succeed(t, 'qemu-nbd', ['--list', '-k', socket]);
  const seen = [...qemu.stdout.matchAll(/export: '([^']*)'/g)].map((found) => found[1] ?? '');
  t.deepEqual(seen, names);
  return names;
}

/** What a client may do with an export, as nbdinfo reads its flags. */
export async function isReadOnly(uri: string): Promise<boolean> {
  return (await run('nbdinfo', ['--is=read-only', uri])).code === 0;
}

/** True when the server does not offer a context. */
export async function isNotOffered(uri: string, context: string): Promise<boolean> {
  const { code, stderr } = await run('nbdinfo', [`--map=${context}`, uri]);
  return code !== 0 && /metadata context|meta context/i.test(stderr);
}
