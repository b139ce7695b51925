// What runs reached: faults that took effect, states and transitions of the actors, entries of the map log. Counts add up
// over seeds, processes and, in a file, over runs of the command; what was never reached is the difference to all there is.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';

const GROUPS = ['faults', 'rare', 'states', 'transitions', 'entries'] as const;
export type Group = (typeof GROUPS)[number];
export type Counts = Readonly<Record<string, number>>;

export type Reached = Readonly<Record<Group, Counts>>;

/** All that could be reached, by name. */
export type All = Readonly<Record<Group, readonly string[]>>;

export const NOTHING: Reached = { faults: {}, rare: {}, states: {}, transitions: {}, entries: {} };

export function countsOf(map: ReadonlyMap<string, number>): Counts {
  return Object.fromEntries([...map].sort(([a], [b]) => (a < b ? -1 : 1)));
}

export function sum(one: Reached, other: Reached): Reached {
  const add = (group: Group): Counts => {
    // A file of an earlier program has fewer groups.
    const counts = new Map(Object.entries(one[group] ?? {}));
    for (const [name, count] of Object.entries(other[group] ?? {})) {
      counts.set(name, (counts.get(name) ?? 0) + count);
    }
    return countsOf(counts);
  };
  return {
    faults: add('faults'),
    rare: add('rare'),
    states: add('states'),
    transitions: add('transitions'),
    entries: add('entries'),
  };
}

/** Adds to what the file has from earlier runs; returns the sum. */
export function addToFile(path: string, reached: Reached): Reached {
  const before = existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Reached) : NOTHING;
  const total = sum(before, reached);
  writeFileSync(path, `${JSON.stringify(total, undefined, 1)}\n`);
  return total;
}

/** One line for each group: how much of what there is, and how often. */
export function summary(reached: Reached, all: All): readonly string[] {
  const faults = Object.entries(reached.faults).sort(([, a], [, b]) => b - a);
  return [
    `faults: ${faults.map(([name, count]) => `${name} ${count}`).join(', ') || 'none'}`,
    `actors: ${share(reached, all, 'states')} states, ${share(reached, all, 'transitions')} transitions`,
    ...actorLines(reached, all),
    `rare branches: ${share(reached, all, 'rare')} points, ${total(reached.rare)} times`,
    `log entries: ${share(reached, all, 'entries')} types`,
  ];
}

function total(counts: Counts): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

function actorLines(reached: Reached, all: All): readonly string[] {
  const actors = [...new Set(all.states.map(actorOf))];
  const line = actors.map((actor) => {
    const of = (group: Group): string =>
      share(reached, all, group, (name) => actorOf(name) === actor);
    return `${actor} ${of('states')} and ${of('transitions')}`;
  });
  return [`  ${line.join(', ')}`];
}

function actorOf(name: string): string {
  return name.slice(0, name.search(/[.:]/));
}

function share(
  reached: Reached,
  all: All,
  group: Group,
  isMeant: (name: string) => boolean = () => true,
): string {
  const names = all[group].filter(isMeant);
  const there = names.filter((name) => (reached[group][name] ?? 0) > 0);
  return `${there.length} of ${names.length}`;
}

/** What an actor's machine has of states and transitions, and what of them no run reached. */
export interface MachineReach {
  readonly actor: string;
  readonly states: number;
  readonly transitions: number;
  readonly missing: readonly string[];
  /** Of both together, the lesser share. */
  readonly share: number;
}

/** How much of each machine runs have reached: the judge's own measure. */
export function reachOfMachines(reached: Reached, all: All): readonly MachineReach[] {
  const actors = [...new Set(all.states.map(actorOf))];
  return actors.map((actor) => {
    const of = (group: 'states' | 'transitions') => {
      const names = all[group].filter((name) => actorOf(name) === actor);
      const missing = names.filter((name) => (reached[group][name] ?? 0) === 0);
      return { count: names.length, missing, share: 1 - missing.length / names.length };
    };
    const states = of('states');
    const transitions = of('transitions');
    return {
      actor,
      states: states.count,
      transitions: transitions.count,
      missing: [...states.missing, ...transitions.missing],
      share: Math.min(states.share, transitions.share),
    };
  });
}

/** A line for each thing that no run reached. */
export function neverReached(reached: Reached, all: All): readonly string[] {
  return GROUPS.flatMap((group) =>
    all[group]
      .filter((name) => (reached[group][name] ?? 0) === 0)
      .map((name) => `never reached: ${group} ${name}`),
  );
}
