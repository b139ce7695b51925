// Goal: a link between two nodes that comes and goes at the worst moments is nobody's death (C1.5, C1.8). A ping is
// lost, one comes through, one is lost; three come through, and while the accusation is still being taken back the
// channel breaks and the next one is lost as well. Each of the two accuses the other again; one observer's word stays
// below the high mark. When that is taken back, too, one of them dies in earnest, and is called down by what the others
// saw just then.

import { PING_DEADLINE_MS, PING_EVERY_MS } from '../../src/agreement/prober.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import { isCalledDown, type Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';
import { wasSaid } from './migrate.ts';

/** A ping, by the observer's clock: so long before it the path is changed, and so late its answer is called lost. */
const BEFORE_MS = 80;
const CALLED_LOST_MS = PING_DEADLINE_MS + 25;
/** The answer that ends an accusation is late by this: what follows comes before that is forgotten. */
const LATE_MS = 350;
/** After this many answers in a row nothing lost before counts. */
const CALM_PINGS = 6;
const LOOK_S = 15;
/** A refused dial is a verdict at once; the leader may have to be found anew. */
const VERDICT_S = 10;
const SHRINK_S = 2;

/** The link of two nodes, in time with the pings of one of them. */
class Link {
  readonly #stage: Stage;
  readonly #one: SimNode;
  readonly #other: SimNode;
  /** When the next ping leaves. */
  #nextMs = 0;

  constructor(stage: Stage, one: SimNode, other: SimNode) {
    this.#stage = stage;
    this.#one = one;
    this.#other = other;
  }

  cut(): void {
    this.#stage.cable.paths.cut(this.#one.name, this.#other.name, ['data']);
  }

  heal(): void {
    this.#stage.cable.paths.heal(this.#one.name, this.#other.name);
  }

  /** Cut until the other is accused. */
  async again(): Promise<void> {
    const { world } = this.#stage;
    const since = world.records.length;
    this.cut();
    const { name } = this.#one;
    const isTold = () =>
      world.records.slice(since).some((one) => one.node === name && one.name === 'peer.suspicion');
    if (!(await world.runUntil(isTold, 10_000))) throw new RunFailure('nobody was accused');
    this.heal();
  }

  /** A first accusation tells when pings leave; then all is well for a while. */
  async learn(): Promise<void> {
    await this.again();
    const { nowMs } = this.#stage.world;
    this.#nextMs = nowMs - this.#real(CALLED_LOST_MS) + this.#real(PING_EVERY_MS);
    for (let pings = 0; pings < CALM_PINGS; pings += 1) await this.answered();
  }

  #real(ms: number): number {
    return ms / this.#one.clockRate;
  }

  /** To a moment, by the observer's clock from the next ping on. */
  async to(ms: number): Promise<void> {
    const { world } = this.#stage;
    await world.runUntil(() => false, this.#nextMs + this.#real(ms) - world.nowMs);
  }

  /** That ping is over. */
  next(): void {
    this.#nextMs += this.#real(PING_EVERY_MS);
  }

  async answered(): Promise<void> {
    await this.to(PING_EVERY_MS - 2 * BEFORE_MS);
    this.next();
  }

  async lost(): Promise<void> {
    await this.to(-BEFORE_MS);
    this.cut();
    await this.to(CALLED_LOST_MS + BEFORE_MS);
    this.heal();
    await this.answered();
  }

  async answeredLate(): Promise<void> {
    await this.to(-BEFORE_MS);
    this.cut();
    await this.to(LATE_MS);
    this.heal();
    await this.answered();
  }

  /** Under way when the channel breaks: lost at once. */
  async broken(): Promise<void> {
    const { paths } = this.#stage.cable;
    await this.to(-BEFORE_MS);
    this.cut();
    await this.to(BEFORE_MS);
    paths.breakRate = 1;
    this.heal();
    await this.to(BEFORE_MS + 2);
    paths.breakRate = 0;
    await this.answered();
  }
}

/** The observer says that it was wrong. */
async function takenBack({ world }: Stage, { name }: SimNode): Promise<void> {
  const since = world.records.length;
  const isBack = () =>
    world.records.slice(since).some(({ node, name: what, text }) => {
      return node === name && what === 'peer.suspicion' && text.includes('down=false');
    });
  if (!(await world.runUntil(isBack, 10_000))) throw new RunFailure('nothing was taken back');
}

export const linkComesAndGoes = scenario(
  'link-comes-and-goes',
  { nodes: 4, copies: 3, smokeSeeds: 3 },
  async (stage) => {
    await stage.form();
    await stage.run({ seconds: 2 });
    const { epoch, world } = stage;
    const one = stage.anyRunning();
    const other = stage.anyRunning(one);
    const link = new Link(stage, one, other);
    await link.learn();
    const since = world.records.length;
    await link.lost();
    await link.answered();
    await link.lost();
    if (!wasSaid(stage, 'peer.suspicion', since)) throw new RunFailure('two of three were lost');
    await link.answered();
    await link.answered();
    await link.answeredLate();
    await link.broken();
    await takenBack(stage, one);
    await stage.run({ seconds: LOOK_S });
    await link.again();
    await takenBack(stage, one);
    if (stage.epoch !== epoch)
      throw new RunFailure(`C-detect: epoch ${stage.epoch} for a link that comes and goes`);
    // The leader hears of none of its proposals what came of it, and pauses after each; the log has them all the same.
    world.rarities = new Map([['proposal-given-up', 1]]);
    other.kill();
    await stage.until('it is called down', () => isCalledDown(stage, other), {
      seconds: VERDICT_S,
    });
    await stage.run({ seconds: SHRINK_S });
    await other.start();
    await stage.run({ seconds: SHRINK_S });
    world.rarities = new Map();
    await stage.check.converges({ seconds: 60 });
  },
);
