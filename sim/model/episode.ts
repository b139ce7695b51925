// Random walks through the rules of replication and fencing (PROTOCOL 3.4 and 4), as an executable specification: one
// partition, five nodes, a chain of lock holders, frames that are lost, doubled and late. After each step the invariants
// are looked at. It is a search: nothing found is no proof.

import { SimRandom } from '../sim-random.ts';
import { Holders } from './holders.ts';
import { advanceJoiner, join, loseDisk, restart, settle, shrink } from './leader.ts';
import { isPrefix, Partition, type Tally } from './partition.ts';
import type { RuleName } from './rules.ts';

export const STEPS = 140;
/** One episode in so many has reads from one member alone (4.5). */
const READS_ALONE_EVERY = 3;
/** What an action's weight is multiplied by: in mild episodes, and in wild ones. */
const MIXTURES = [
  [1, 2, 3, 4],
  [0.1, 0.5, 1, 2, 4],
];

export interface Found {
  readonly episode: number;
  readonly invariant: string;
}

export interface Survey {
  readonly found: readonly Found[];
  readonly tally: Tally;
}

/** Plays episodes from this seed on; with `isEnough`, up to the first violation. */
export function survey(options: {
  readonly seed: number;
  readonly episodes: number;
  readonly broken?: RuleName;
  readonly isEnough?: boolean;
  /** A step that is forbidden in itself is let pass: what it leads to must be found. */
  readonly isPatient?: boolean;
}): Survey {
  const { seed, episodes, broken, isEnough = false, isPatient = false } = options;
  const tally: Tally = { acknowledged: 0, promoted: 0, touched: 0 };
  const found: Found[] = [];
  for (let episode = 0; episode < episodes; episode += 1) {
    const random = new SimRandom(`model ${seed} ${episode}`);
    const part = new Partition(random, { tally, broken, isPatient });
    const invariant = play(part, episode % READS_ALONE_EVERY === READS_ALONE_EVERY - 1);
    if (invariant === undefined) continue;
    found.push({ episode, invariant });
    if (isEnough) break;
  }
  return { found, tally };
}

/** The invariant that broke first. */
function play(part: Partition, hasReads: boolean): string | undefined {
  const actions = drawActions(part, new Holders(part), hasReads);
  let sum = 0;
  for (const [weight] of actions) sum += weight;
  for (let step = 0; step < STEPS && part.violation === undefined; step += 1) {
    let dice = part.random.unit() * sum;
    for (const [weight, act] of actions) {
      dice -= weight;
      if (dice >= 0) continue;
      act();
      break;
    }
    check(part);
  }
  return part.violation;
}

type Action = readonly [weight: number, act: () => void];

/** Each episode has its own mixture, so that what is rare is frequent in some. */
function drawActions(part: Partition, holders: Holders, hasReads: boolean): readonly Action[] {
  const { random } = part;
  const applySome = (): void => {
    const node = random.between(0, part.replicas.length - 1);
    part.apply(node, Math.min(part.replica(node).applied + 1, part.last));
  };
  const actions: readonly Action[] = [
    [3, () => holders.send()],
    [12, () => holders.deliver()],
    [2, () => holders.learn()],
    [3, () => holders.takeOver()],
    [6, () => holders.touch()],
    [2, applySome],
    [1, () => shrink(part)],
    [1, () => join(part)],
    [2, () => advanceJoiner(part)],
    [0.2, () => loseDisk(part)],
    [0.5, () => restart(part)],
  ];
  const readsAlone: readonly Action[] = [
    [3, () => holders.readAlone()],
    [1, () => settle(part)],
  ];
  if (hasReads) return weighed([...actions, ...readsAlone], part);
  return weighed(actions, part);
}

function weighed(actions: readonly Action[], { random }: Partition): readonly Action[] {
  const mixture = random.pick(MIXTURES);
  return actions.map(([weight, act]) => [weight * random.pick(mixture), act]);
}

function check(part: Partition): void {
  const { inSync, joining } = part.now;
  const isLive = (node: number): boolean => !part.replica(node).isLost;
  const members = inSync.filter(isLive).map((node) => part.replica(node).chain);
  const [first] = members;
  if (first === undefined) {
    part.fail('A7');
    return;
  }
  for (const chain of members) {
    if (!part.acknowledged.every((write) => chain.includes(write))) part.fail('I1');
    if (!isPrefix(chain, first) && !isPrefix(first, chain)) part.fail('I2');
  }
  const isListed = [...inSync, ...joining].some((node) => isLive(node) && part.isOpen(node));
  if (!isListed && members.some((chain) => chain.length !== first.length)) part.fail('I9');
}
