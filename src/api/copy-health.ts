// CORRUPTION, CACHE_LOST and SCRUB_LATE: what the members say of their copies, as checks with remedies. Pure.

import type { Warning } from '../core/admin-shapes.ts';
import type { NodeCondition } from '../core/condition.ts';
import type { GenerationId, VolumeId } from '../core/ids.ts';
import { REPAIR_TOLD_MS } from '../core/scrub.ts';
import { OBJECT_BYTES, SECTOR_BYTES, SECTORS_PER_OBJECT } from '../core/units.ts';
import type { ClusterView } from '../core/view.ts';

/** A loss of unflushed writes is told for so long. */
export const CACHE_LOSS_TOLD_MS = REPAIR_TOLD_MS;
/** Ranges and objects named in one message; the rest is counted. */
const MAX_NAMED = 8;

/** Every check of copies that is on. `dateMs`: now, ms since 1970. */
export function copyWarnings(
  view: ClusterView,
  conditions: readonly NodeCondition[],
  dateMs: number,
): readonly Warning[] {
  return [
    ...lostRanges(view, conditions),
    ...conditions.map((condition) => unrepaired(view, condition)),
    ...conditions.map((condition) => differing(view, condition)),
    ...conditions.map((condition) => repaired(condition, dateMs)),
    ...cachesLost(view, conditions, dateMs),
    scrubLate(conditions),
  ].filter((warning) => warning !== undefined);
}

/** Sectors that no copy can give, by volume: reads of them are answered with an error. */
function lostRanges(view: ClusterView, conditions: readonly NodeCondition[]): Warning[] {
  return [...unreadable(view, conditions)].map(([volume, ranges]) => {
    const named = ranges.slice(0, MAX_NAMED).map(([from, to]) => `${from}-${to}`);
    const more = ranges.length > MAX_NAMED ? ` and ${ranges.length - MAX_NAMED} more ranges` : '';
    const message = `not repaired: no copy of volume ${volume} passes its checksums at bytes ${named.join(', ')}${more}; reads there fail`;
    const remedy = `restore these ranges of ${volume} from a backup, or overwrite them (the alarm ends within a minute); replace the disks that lost them`;
    return corruption('error', message, remedy, [volume]);
  });
}

/** Bytes that no copy can give, by the name of the volume; from-to, both inclusive. */
export function unreadable(
  view: ClusterView,
  conditions: readonly NodeCondition[],
): ReadonlyMap<string, readonly (readonly [number, number])[]> {
  const sectors = new Map<string, Set<number>>();
  for (const { damaged } of conditions) {
    for (const { generation, index, lost } of damaged) {
      if (lost.length === 0) continue;
      const volume = volumeOf(view, generation);
      const found = sectors.get(volume) ?? new Set();
      sectors.set(volume, found);
      for (const sector of lost) found.add(index * SECTORS_PER_OBJECT + sector);
    }
  }
  const sorted = ([volume, found]: [string, Set<number>]) =>
    [volume, rangesOf([...found].sort((a, b) => a - b))] as const;
  return new Map([...sectors].map(sorted));
}

/** From-to in bytes, both inclusive. */
function rangesOf(sectors: readonly number[]): (readonly [number, number])[] {
  const ranges: [number, number][] = [];
  for (const sector of sectors) {
    const from = sector * SECTOR_BYTES;
    const last = ranges.at(-1);
    if (last !== undefined && last[1] + 1 === from) last[1] = from + SECTOR_BYTES - 1;
    else ranges.push([from, from + SECTOR_BYTES - 1]);
  }
  return ranges;
}

/** Damaged here, right elsewhere, or so it is hoped. */
function unrepaired(view: ClusterView, condition: NodeCondition): Warning | undefined {
  const { node, damaged, damagedCount } = condition;
  const waiting = damaged.filter(({ lost }) => lost.length === 0);
  const count = damagedCount - (damaged.length - waiting.length);
  const [first] = waiting;
  if (count <= 0 || first === undefined) return undefined;
  const volumes = [...new Set(waiting.map(({ generation }) => volumeOf(view, generation)))];
  const copies = count === 1 ? '1 copy is' : `${count} copies are`;
  const places = waiting.slice(0, MAX_NAMED).map(({ generation, index }) => {
    const from = index * OBJECT_BYTES;
    return `${volumeOf(view, generation)} within bytes ${from}-${from + OBJECT_BYTES - 1}`;
  });
  const more = count > places.length ? ` and ${count - places.length} more` : '';
  const message = `not repaired: ${copies} damaged on n${node} (${places.join(', ')}${more}): ${first.reason}`;
  const remedy = waitsForOthers(view, waiting)
    ? 'wait for the repair; if it lasts, bring the other copies back: dog node list'
    : 'wait a minute: this is the only copy, and what it can not give is named by bytes then';
  return corruption('error', message, remedy, [`n${node}`, ...volumes]);
}

/** A volume with one copy has none to be repaired from. */
function waitsForOthers(view: ClusterView, waiting: NodeCondition['damaged']): boolean {
  return waiting.some(({ generation }) => {
    const volume = view.volumeOfGeneration(generation);
    return volume === undefined || (view.policies.get(volume.policy)?.copies ?? 0) > 1;
  });
}

/** Nobody can say which one is right. */
function differing(view: ClusterView, condition: NodeCondition): Warning | undefined {
  const { node, differences, differenceCount } = condition;
  if (differenceCount === 0) return undefined;
  const named = differences.slice(0, MAX_NAMED).map(({ generation, index, peer, what }) => {
    return `object ${index} of ${volumeOf(view, generation)} on n${node} and n${peer} (${what})`;
  });
  const message = `copies differ though each passes its checksums: ${named.join(', ')}`;
  const remedy = 'compare with a backup and overwrite what is wrong; please report this';
  return corruption('error', message, remedy, [`n${node}`]);
}

function repaired(condition: NodeCondition, dateMs: number): Warning | undefined {
  const { node, sectorsRepaired, objectsRepaired, lastRepairMs } = condition;
  if (sectorsRepaired === 0 || dateMs - lastRepairMs > REPAIR_TOLD_MS) return undefined;
  const sectors = sectorsRepaired === 1 ? '1 sector' : `${sectorsRepaired} sectors`;
  const whole = objectsRepaired === 0 ? '' : `, ${objectsRepaired} whole objects among them`;
  const at = new Date(lastRepairMs).toISOString();
  const message = `repaired: ${sectors} failed their checksums on n${node} and were copied from other nodes${whole}; last at ${at}`;
  const remedy = `look for more, on n${node}: dog node scrub start deep; replace the disk of n${node} if it goes on`;
  return corruption('warning', message, remedy, [`n${node}`]);
}

/** The guest of the volume saw errors, and may have been told of writes that are gone (R8). */
function cachesLost(
  view: ClusterView,
  conditions: readonly NodeCondition[],
  dateMs: number,
): Warning[] {
  const last = new Map<VolumeId, number>();
  for (const { cacheLosses } of conditions) {
    for (const { volume, dateMs: lostMs } of cacheLosses) {
      if (dateMs - lostMs > CACHE_LOSS_TOLD_MS || !view.volumes.has(volume)) continue;
      last.set(volume, Math.max(lostMs, last.get(volume) ?? 0));
    }
  }
  return [...last].map(([volume, lostMs]) => {
    const name = view.volumes.get(volume)?.name ?? `volume ${volume}`;
    const at = new Date(lostMs).toISOString();
    return {
      code: 'CACHE_LOST',
      severity: 'error',
      message: `writes of ${name} that were not flushed were lost with the memory of all its copies at ${at}; its guest got errors`,
      remedy: `restart the guest and check its file systems; mode durable loses nothing that was answered`,
      affected: [name],
    };
  });
}

function scrubLate(conditions: readonly NodeCondition[]): Warning | undefined {
  const late = conditions.filter(({ scrubLate: kinds }) => kinds.length > 0);
  if (late.length === 0) return undefined;
  const names = late.map(({ node, scrubLate: kinds }) => `n${node} (${kinds.join(', ')})`);
  return {
    code: 'SCRUB_LATE',
    severity: 'warning',
    message: `not all copies were looked at within twice the period: ${names.join(', ')}`,
    remedy: 'on each of them: end a pause, dog node scrub resume; or raise sheep --scrub-rate',
    affected: late.map(({ node }) => `n${node}`),
  };
}

function corruption(
  severity: Warning['severity'],
  message: string,
  remedy: string,
  affected: readonly string[],
): Warning {
  return { code: 'CORRUPTION', severity, message, remedy, affected };
}

function volumeOf(view: ClusterView, generation: GenerationId): string {
  return view.volumeOfGeneration(generation)?.name ?? `generation ${generation}`;
}
