// Goal: limits of a volume's rates limit, in requests and in bytes, whoever the gateway is, while they change and while
// nodes die; who waits for a turn waits no longer than all before it need, a snapshot does not wait for them, and nothing
// that was acknowledged is lost. A guest keeps more requests in flight than may pass; what ends is counted.

import { BURST_MS } from '../../src/core/token-bucket.ts';
import { KIB } from '../../src/core/units.ts';
import type { VolumeRates } from '../../src/core/view.ts';
import type { Guest } from '../guest.ts';
import { BLOCK_BYTES } from '../guest-block.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';

const BLOCKS = 512;
const DEPTH = 8;
const MAX_BLOCKS = 4;
/** Between an answer and the next request of its lane. */
const THINK_MS = 1;
const MEASURED_S = 4;
/** A change is known at the gateway, and the burst is used up. */
const SETTLES_S = 1;
/** Clocks of nodes go so much too fast or too slow at most. */
const SKEW = 0.055;
/** Of a request that has its turn. */
const SERVED_MS = 500;
const SNAPSHOT_S = 5;
const LIMIT_S = 120;

/** Lanes of one request each, counted. */
class Load {
  readonly #stage: Stage;
  readonly #guest: Guest;
  readonly #asked = new Map<number, number>();
  requests = 0;
  bytes = 0;
  #isOver = false;

  constructor(stage: Stage, guest: Guest) {
    this.#stage = stage;
    this.#guest = guest;
    for (let lane = 0; lane < DEPTH; lane += 1) this.#next(lane);
  }

  end(): void {
    this.#isOver = true;
  }

  /** How long the one has waited that was asked first and is not answered yet. */
  get oldestMs(): number {
    return this.#stage.world.nowMs - Math.min(this.#stage.world.nowMs, ...this.#asked.values());
  }

  #next(lane: number): void {
    this.#stage.world.schedule(THINK_MS, undefined, () => {
      if (this.#isOver || !this.#guest.gatewayIsAlive) return;
      const count = this.#stage.random.between(1, MAX_BLOCKS);
      const block = this.#stage.random.between(0, BLOCKS - count);
      const ended = (isOk: boolean): void => {
        this.requests += 1;
        this.bytes += isOk ? count * BLOCK_BYTES : 0;
        this.#asked.delete(lane);
        this.#next(lane);
      };
      this.#asked.set(lane, this.#stage.world.nowMs);
      if (this.#stage.random.chance(0.5)) this.#guest.startRead(block, count, ended);
      else this.#guest.startWrite(block, count, ended);
    });
  }
}

interface Run {
  readonly stage: Stage;
  gateway: SimNode;
  guest: Guest;
  load: Load;
}

export const limits = scenario('limits', { nodes: 3, copies: 3, smokeSeeds: 2 }, async (stage) => {
  const { random } = stage;
  await stage.form();
  const gateway = stage.anyRunning();
  const guest = await stage.createVolume({ name: 'disk', sizeMiB: 8, at: gateway });
  await guest.fill(BLOCKS);
  const run: Run = { stage, gateway, guest, load: new Load(stage, guest) };
  const iops = random.between(40, 80);
  await alter(run, { iops: 4 * iops, bytesPerSecond: 0 });
  await alter(run, { iops, bytesPerSecond: 0 });
  await measured(run, { iops, bytesPerSecond: 0 });
  const bandwidth = { iops: 0, bytesPerSecond: random.between(256, 512) * KIB };
  await alter(run, bandwidth);
  await measured(run, bandwidth);
  await memberDies(run);
  await measured(run, bandwidth);
  await gatewayIsLost(run);
  await measured(run, bandwidth);
  await snapshotBesideWaiting(run);
  await freed(run);
  run.load.end();
  await run.guest.stop();
  await stage.check.everyAcknowledgedWriteIsReadable(run.guest);
  await stage.check.replicasAreIdentical({ seconds: LIMIT_S });
});

async function alter({ stage }: Run, rates: VolumeRates): Promise<void> {
  await stage.ask(stage.anyRunning(), 'limit', (handle) => handle.alterVolume('disk', rates));
  await stage.run({ seconds: SETTLES_S });
}

/** What ends in a few seconds is what may pass; nobody waits for longer than those before it need. */
async function measured({ stage, guest, load }: Run, rates: VolumeRates): Promise<void> {
  const { iops, bytesPerSecond } = rates;
  const [requests, bytes] = [load.requests, load.bytes];
  guest.longestWaitMs = 0;
  await stage.run({ seconds: MEASURED_S });
  const largest = MAX_BLOCKS * BLOCK_BYTES;
  if (iops > 0) judge('requests', load.requests - requests, iops, 1);
  if (bytesPerSecond > 0) judge('bytes', load.bytes - bytes, bytesPerSecond, largest);
  const turnMs = (1000 * largest) / bytesPerSecond;
  const each = iops > 0 ? 1000 / iops : turnMs;
  const most = (DEPTH + 1) * each * (1 + SKEW) + BURST_MS + SERVED_MS;
  const longestMs = Math.max(guest.longestWaitMs, load.oldestMs);
  if (longestMs <= most) return;
  throw new RunFailure(`limit: a request waited for ${longestMs} ms, not ${most}: no order`);
}

/** Above by no more than a burst and a request; below by no more than what is in flight at the end. */
function judge(what: string, found: number, perSecond: number, one: number): void {
  const most = MEASURED_S * perSecond * (1 + SKEW) + (BURST_MS / 1000) * perSecond + one;
  const least = MEASURED_S * perSecond * (1 - SKEW) - DEPTH * one - (BURST_MS / 1000) * perSecond;
  if (found >= least && found <= most) return;
  throw new RunFailure(`limit: ${found} ${what} in ${MEASURED_S} s at ${perSecond} a second`);
}

async function memberDies({ stage, gateway }: Run): Promise<void> {
  const victim = stage.anyRunning(gateway);
  if (stage.random.chance(0.5)) victim.kill();
  else victim.losePower();
  await stage.run({ seconds: stage.random.exponential(2) });
  await victim.start();
  await stage.check.converges({ seconds: LIMIT_S });
  await stage.run({ seconds: SETTLES_S });
}

/** Dead, or cut off: then whoever waits there for a turn is answered at last. The limits hold at the next gateway. */
async function gatewayIsLost(run: Run): Promise<void> {
  const { stage, gateway, guest: former, load } = run;
  const isCut = stage.random.chance(0.5);
  if (isCut) stage.partition([gateway]);
  else gateway.kill();
  load.end();
  former.freeze();
  run.gateway = stage.anyRunning(gateway);
  run.guest = stage.guestOf(former.volume);
  run.guest.attach(run.gateway);
  await stage.check.lockIsReachable(run.guest, { seconds: 60 });
  if (isCut) stage.heal();
  else await gateway.start();
  if (isCut) {
    await stage.until('who waited there is answered', () => former.inFlight === 0, { seconds: 30 });
  }
  await stage.check.converges({ seconds: LIMIT_S });
  run.load = new Load(stage, run.guest);
  await stage.run({ seconds: SETTLES_S });
}

/** Requests without a turn have no lock, no range, no version: nothing waits for them. */
async function snapshotBesideWaiting(run: Run): Promise<void> {
  const { stage } = run;
  await alter(run, { iops: 1, bytesPerSecond: 0 });
  const before = stage.world.nowMs;
  await stage.ask(stage.anyRunning(), 'snapshot', (handle) => {
    return handle.layers().snapshot(['disk'], 'one');
  });
  const seconds = (stage.world.nowMs - before) / 1000;
  if (seconds > SNAPSHOT_S) throw new RunFailure(`a snapshot took ${seconds} s beside a limit`);
}

/** Without limits nobody waits any more, at once. */
async function freed(run: Run): Promise<void> {
  const { stage, load } = run;
  await alter(run, { iops: 0, bytesPerSecond: 0 });
  const before = load.requests;
  await stage.run({ seconds: 1 });
  const ended = load.requests - before;
  if (ended < 10 * DEPTH) throw new RunFailure(`limit: ${ended} requests in 1 s without any`);
}
