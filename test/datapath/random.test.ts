// Random walks: guests write and read while nodes die and return, members are shrunk out and join again, holders are
// overtaken alive and dead, frames are lost and maps lag. Afterwards everything heals, and then every acknowledged write
// is readable and the replicas are identical. A failure names its seed: `SEED=n npx ava test/datapath/random.test.ts`.

import test, { type ExecutionContext } from 'ava';
import type { Gateway } from '../../src/datapath/gateway.ts';
import { Oracle } from './oracle.ts';
import { World, type WorldNode } from './world.ts';

const SEEDS = process.env['SEED']
  ? [Number(process.env['SEED'])]
  : range(1, Number(process.env['SEEDS'] ?? 40));
const STEPS = 150;
const SECTORS_PER_OBJECT = 6;
/** They lie on both sides of a border of regions. */
const FIRST_SECTOR = 14;
const START = FIRST_SECTOR * 4096;
const OBJECT = 4 * 1024 * 1024;
const EVERYTHING = Number.MAX_SAFE_INTEGER;

class Walk {
  readonly world: World;
  readonly oracle = new Oracle();
  guest: Gateway | undefined;
  guestNode = 0;
  readonly zombies: { gateway: Gateway; node: WorldNode; life: number }[] = [];
  readonly busy = new Set<number>();
  lossPercent = 0;

  readonly isWriteback: boolean;
  /** The volume moves to other numbers of copies meanwhile (S8). */
  readonly isMoving: boolean;

  constructor(seed: number, durability: 'durable' | 'writeback', isMoving: boolean) {
    this.isWriteback = durability === 'writeback';
    this.isMoving = isMoving;
    this.world = new World({ seed, nodes: 5, copies: 3, durability });
    for (const { store } of this.world.nodes) store.keepsOutages = seed % 4 > 0;
    this.world.tamper = () => (this.below(100) < this.lossPercent ? 'lose' : 'pass');
  }

  below(n: number): number {
    return this.world.random.below(n);
  }

  step(): void {
    const actions: [number, () => void][] = [
      [10, () => this.write(this.guest, true)],
      [4, () => this.read()],
      [2, () => this.zombieWrite()],
      [1, () => this.kill()],
      [2, () => this.restart()],
      [1, () => this.shrink()],
      [1, () => this.overtake()],
      [3, () => this.attach()],
      [4, () => this.world.healOnce()],
      [1, () => this.abort()],
      [1, () => this.joinAnyone()],
      [
        1,
        () => {
          this.lossPercent = this.below(3) === 0 ? 10 : 0;
        },
      ],
      [1, () => this.lag()],
      [1, () => this.storeTrouble()],
      ...(this.isWriteback ? this.#cacheActions() : []),
      ...(this.isMoving ? this.#moveActions() : []),
    ];
    let dice = this.below(actions.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, act] of actions) {
      if (dice < weight) {
        act();
        break;
      }
      dice -= weight;
    }
    this.world.clock.run(this.below(4) === 0 ? this.below(400) : this.below(12));
  }

  #cacheActions(): [number, () => void][] {
    return [
      [2, () => this.guest?.flush(() => {})],
      [2, () => this.forget()],
    ];
  }

  #moveActions(): [number, () => void][] {
    const cancel = (): void => {
      const { token } = this.world.volume.lock;
      this.world.commit({ type: 'moveCancel', volume: this.world.volumeId, token });
    };
    return [
      [3, () => this.world.move(2 + this.below(3))],
      [1, () => (this.below(3) === 0 ? cancel() : undefined)],
    ];
  }

  // ---------------------------------------------------------------------------------- guests

  #place(): { first: number; sectors: number; offset: number } {
    const object = this.below(2);
    const at = this.below(SECTORS_PER_OBJECT - 1);
    const sectors = 1 + this.below(2);
    return { first: object * 100 + at, sectors, offset: object * OBJECT + START + at * 4096 };
  }

  write(gateway: Gateway | undefined, isOwn: boolean): void {
    if (gateway === undefined || !gateway.open.isHeld) {
      if (gateway !== undefined && isOwn) this.read();
      return;
    }
    const { first, sectors, offset } = this.#place();
    const { token } = gateway.open;
    const written = this.oracle.issue(token);
    const bytes = this.oracle.bytesOf(written, sectors);
    gateway.write(offset, bytes, (error) => {
      if (error !== undefined) return;
      this.oracle.acked(written, first, sectors);
      this.oracle.touchedToken = Math.max(this.oracle.touchedToken, token);
    });
  }

  read(): void {
    const gateway = this.guest;
    if (gateway === undefined) return;
    const { first, sectors, offset } = this.#place();
    const floors = this.oracle.floorsOf(first, sectors);
    const target = new Uint8Array(sectors * 4096);
    gateway.read(offset, target.length, target, 0, (error) => {
      if (error !== undefined || gateway !== this.guest) return;
      this.oracle.seen(target, first, floors, `n${this.guestNode} at ${this.world.clock.now()}`);
    });
    this.allocation(gateway);
  }

  /** What holds an acknowledged write is never called a hole: nothing is zeroed in these walks. */
  allocation(gateway: Gateway): void {
    const { first, sectors, offset } = this.#place();
    const floors = this.oracle.floorsOf(first, sectors);
    gateway.allocation(offset, sectors * 4096, (error, extents) => {
      if (error !== undefined || gateway !== this.guest) return;
      const held = extents.flatMap((one) => Array(one.length / 4096).fill(one.isAllocated));
      this.oracle.told(held, first, floors, `n${this.guestNode} at ${this.world.clock.now()}`);
    });
  }

  zombieWrite(): void {
    const zombie = this.zombies[this.below(Math.max(1, this.zombies.length))];
    if (zombie === undefined || !zombie.node.isAlive || zombie.node.life !== zombie.life) return;
    this.write(zombie.gateway, false);
  }

  attach(): void {
    const alive = this.world.nodes.filter((node) => node.isAlive && this.#isUp(node));
    if (this.guest !== undefined && this.guest.open.state !== 'lost') return;
    const node = alive[this.below(Math.max(1, alive.length))];
    if (node === undefined) return;
    this.guestNode = node.id;
    this.guest = this.world.attach(node.id);
  }

  /** By force: the old holder lives on and may not know. */
  overtake(): void {
    const others = this.world.nodes.filter(
      (node) => node.isAlive && node.id !== this.guestNode && this.#isUp(node),
    );
    const node = others[this.below(Math.max(1, others.length))];
    if (node === undefined || this.world.volume.lock.state === 'free' || this.below(2) === 0)
      return;
    const before = this.guest;
    const old = this.world.node(this.guestNode || 1);
    if (before?.open.isHeld) {
      this.zombies.push({ gateway: before, node: old, life: old.life });
      old.isLagging = this.below(2) === 0;
    }
    this.guestNode = node.id;
    this.guest = this.world.takeOver(node.id);
  }

  // ---------------------------------------------------------------------------------- trouble

  #isUp(node: WorldNode): boolean {
    const member = this.world.view.members.get(node.id);
    return member?.state === 'up' && member.incarnation === node.incarnation;
  }

  kill(): void {
    const dead = this.world.nodes.filter((node) => !node.isAlive).length;
    const node = this.world.nodes[this.below(5)] as WorldNode;
    if (!node.isAlive || dead >= 2 || (dead === 1 && this.below(4) > 0)) return;
    this.#end(node);
    const { life } = node;
    this.world.clock.setTimer(this.below(300), () => {
      if (node.life === life) this.world.down(node);
    });
  }

  /** A durable store forgets a drawn part of what it did not confirm. */
  #end(node: WorldNode): void {
    this.world.kill(node, this.isWriteback && !this.#mayForget(node) ? EVERYTHING : undefined);
    if (node.id === this.guestNode) this.guest = undefined;
  }

  /** Somebody else who forgot nothing is there for every object (within the budget: not all forget at once). */
  #mayForget(node: WorldNode): boolean {
    return [0, 1].every((object) => {
      const { inSync, doubtful } = this.world.config(object);
      return inSync.some(
        (id) => id !== node.id && !doubtful.includes(id) && this.world.node(id).isAlive,
      );
    });
  }

  /** Dies and is back before anybody noticed: still in sync, with a part of what it confirmed. */
  forget(): void {
    const node = this.world.nodes[this.below(5)] as WorldNode;
    if (!node.isAlive || !this.#isUp(node) || this.world.nodes.some(({ isAlive }) => !isAlive)) {
      return;
    }
    this.#end(node);
    this.world.restart(node);
  }

  restart(): void {
    const node = this.world.nodes.find(({ isAlive }) => !isAlive);
    if (node === undefined || this.world.view.members.get(node.id)?.state !== 'down') return;
    this.world.restart(node);
  }

  shrink(): void {
    const object = this.below(2);
    const { inSync } = this.world.config(object);
    const node = inSync[this.below(inSync.length)];
    if (node === undefined) return;
    const partitions = [this.world.cas(object)];
    this.world.commit({ type: 'isrShrink', partitions, node, reason: 'slow' });
  }

  abort(): void {
    const object = this.below(2);
    const [node] = this.world.config(object).joining;
    if (node === undefined) return;
    this.world.commit({ type: 'isrAbort', partitions: [this.world.cas(object)], node });
  }

  /** Also one that the ring does not want: the write set of an unaware holder lacks it. */
  joinAnyone(): void {
    const object = this.below(2);
    const node = this.world.nodes[this.below(this.world.nodes.length)] as WorldNode;
    if (!node.isAlive || this.world.members(object).includes(node.id)) return;
    this.world.commit(this.world.joinOf(node.id, object));
  }

  lag(): void {
    const node = this.world.nodes[this.below(5)] as WorldNode;
    node.isLagging = !node.isLagging;
  }

  /** Reads from the disk, a full journal. */
  storeTrouble(): void {
    const { store } = this.world.nodes[this.below(5)] as WorldNode;
    store.readsCold = this.below(2) === 0;
    store.isBusy = this.below(5) === 0;
  }

  // ---------------------------------------------------------------------------------- the end

  movesDone = 0;

  #endMove(): void {
    const { world, oracle } = this;
    const isOver = (): boolean => world.view.moves.size === 0;
    if (!world.clock.until(isOver, 120_000)) oracle.violations.push('it moves for ever');
    if (!world.heal(400)) oracle.violations.push('the sets did not heal');
  }

  /** Everything heals; a new holder reads all. @returns what is wrong */
  finish(): string[] {
    const { world, oracle } = this;
    this.lossPercent = 0;
    for (const node of world.nodes) {
      node.isLagging = false;
      node.store.isBusy = false;
      if (!node.isAlive) {
        world.down(node);
        world.restart(node);
      } else world.apply(node);
    }
    world.clock.run(500);
    if (!world.heal(400)) oracle.violations.push('the sets did not heal');
    const last = world.takeOver(1 + this.below(5));
    if (world.view.moves.size > 0) this.#endMove();
    for (const object of [0, 1]) {
      const floors = oracle.floorsOf(object * 100, SECTORS_PER_OBJECT);
      const bytes = world.read(last, object * OBJECT + START, SECTORS_PER_OBJECT * 4096, 60_000);
      if (typeof bytes === 'string') oracle.violations.push(`the last read: ${bytes}`);
      else oracle.seen(bytes, object * 100, floors, 'at the end');
    }
    world.clock.run(3000);
    for (let round = 0; this.isMoving && round < 4; round += 1) {
      for (const { datapath } of world.nodes) datapath.surplus.dropDeleted(() => undefined);
      world.clock.run(200);
    }
    for (const object of [0, 1]) {
      const tables = world.tables(object);
      const copies = world.view.policies.get(world.volume.policy)?.copies;
      if (tables.length !== copies) oracle.violations.push('not all copies are there');
      if (new Set(tables).size !== 1)
        oracle.violations.push(`replicas differ:\n${tables.join('\n')}`);
    }
    this.movesDone = world.volume.head > 1 ? 1 : 0;
    const alarms = world.warnings.filter((line) => /behind|diverged/.test(line));
    return [...oracle.violations, ...alarms];
  }
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

function walkAll(t: ExecutionContext, durability: 'durable' | 'writeback', isMoving = false): void {
  let acknowledged = 0;
  let moved = 0;
  for (const seed of SEEDS) {
    const walk = new Walk(seed, durability, isMoving);
    walk.attach();
    for (let i = 0; i < STEPS; i += 1) walk.step();
    const wrong = walk.finish();
    t.deepEqual(wrong.slice(0, 3), [], `seed ${seed}`);
    acknowledged += walk.oracle.acknowledged;
    moved += walk.movesDone;
  }
  t.log(`${SEEDS.length} seeds, ${acknowledged} writes acknowledged`);
  if (isMoving && SEEDS.length > 1) t.true(moved > SEEDS.length / 2, `${moved} of them moved`);
  if (SEEDS.length > 1) t.true(acknowledged > SEEDS.length * 5, 'the walks did some work');
}

test('random walks: acknowledged writes are readable, replicas identical, old tokens powerless', (t) => {
  walkAll(t, 'durable');
});

test('random walks, writeback: the same while members forget what they confirmed, one at a time (R8)', (t) => {
  walkAll(t, 'writeback');
});

test('random walks of a volume that moves: the same, whichever copies are the volume by then (S8)', (t) => {
  walkAll(t, 'durable', true);
});

test('random walks of a volume that moves, writeback', (t) => {
  walkAll(t, 'writeback', true);
});
