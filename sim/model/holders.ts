// The holders of the volume's lock, one after the other. Who was taken over may be dead, or may live and not know it. A
// write goes to all of W and is acknowledged under the config that its holder knows then (R3); a new holder waits for the
// barrier (F3) and makes the first touch (4.5), member by member.

import {
  type Chain,
  isPrefix,
  type MapRecord,
  MIN_COPIES,
  type Partition,
  type ReadAlone,
  tokenOf,
} from './partition.ts';

const MAX_TAKEOVERS = 3;
/** Writes of one holder on their way. */
const MAX_PIPELINE = 3;
/** Frames on their way; of more, any are lost. */
const MAX_FRAMES = 20;

interface Write {
  readonly name: string;
  readonly after: Chain;
  /** Asked for after the barrier of a later holder. */
  readonly isLate: boolean;
  /** Highest cfg that anything was acknowledged under before it was asked for. */
  readonly newestCfg: number;
  cfg: number;
  confirmed: Set<number>;
}

interface Holder {
  readonly token: number;
  readonly takenAt: number;
  /** Index of the map that it knows. */
  known: number;
  phase: 'waiting' | 'touching' | 'open';
  isDead: boolean;
  /** Up to its last acknowledged write. */
  chain: Chain;
  pipeline: Write[];
  count: number;
  touch: Touch | undefined;
}

interface Touch {
  readonly cfg: number;
  /** Versions as sealed, by member. */
  readonly sealed: Map<number, { readonly chain: Chain; readonly closed: number }>;
  /** Who is to be made equal to the winner; undefined until all are sealed. */
  left: number[] | undefined;
  closed: number;
}

interface Frame {
  readonly holder: Holder;
  readonly to: number;
  readonly cfg: number;
  readonly known: number;
  readonly write: Write;
  /** So many writes its holder knows to be on all of W. */
  readonly closed: number;
}

export class Holders {
  readonly #part: Partition;
  readonly #all: Holder[] = [newHolder(1, 0, 'open')];
  #frames: Frame[] = [];
  /** Highest token whose barrier is done, and whose first touch is. */
  #barred = 1;
  #opened = 1;
  #newestCfg = 0;

  constructor(part: Partition) {
    this.#part = part;
  }

  get #present(): Holder {
    return this.#all.at(-1) as Holder;
  }

  #any(): Holder {
    const { random } = this.#part;
    return random.chance(0.5) ? random.pick(this.#all) : this.#present;
  }

  /** Some holder hears of one more entry. */
  learn(): void {
    const holder = this.#any();
    if (holder.known < this.#part.last) holder.known += 1;
  }

  // ------------------------------------------------------------------------------------------ writes

  /** Some holder takes a write of its guest, perhaps, and sends all that is not acknowledged under its present cfg. */
  send(): void {
    const holder = this.#any();
    if (holder.isDead || holder.phase !== 'open') return;
    const { random } = this.#part;
    const { pipeline } = holder;
    if (pipeline.length === 0 || (pipeline.length < MAX_PIPELINE && random.chance(0.5))) {
      pipeline.push(this.#newWrite(holder));
    }
    const record = this.#part.recordAt(holder.known);
    for (const write of pipeline) {
      if (write.cfg !== record.cfg) write.confirmed = new Set();
      write.cfg = record.cfg;
      for (const to of this.#part.writeSet(record)) {
        const closed = holder.chain.length;
        this.#frames.push({ holder, to, cfg: record.cfg, known: holder.known, write, closed });
      }
    }
  }

  #newWrite(holder: Holder): Write {
    const last = holder.pipeline.at(-1);
    const after = last === undefined ? holder.chain : [...last.after, last.name];
    holder.count += 1;
    return {
      name: `${holder.token}.${holder.count}`,
      after,
      isLate: this.#barred > holder.token,
      newestCfg: this.#newestCfg,
      cfg: -1,
      confirmed: new Set(),
    };
  }

  /** One frame arrives, in any order, perhaps once more later; or it is lost; or its answer is. */
  deliver(): void {
    const { random } = this.#part;
    if (this.#frames.length === 0) return;
    while (this.#frames.length > MAX_FRAMES) this.#take();
    const frame = random.chance(1 / 6) ? random.pick(this.#frames) : this.#take();
    if (frame === undefined || random.chance(0.1)) return;
    if (this.#writeAt(frame) && !random.chance(0.12)) this.#confirm(frame);
  }

  #take(): Frame | undefined {
    const { length } = this.#frames;
    if (length === 0) return undefined;
    return this.#frames.splice(this.#part.random.between(0, length - 1), 1)[0];
  }

  /** True when the replica confirms. */
  #writeAt({ holder, to, cfg, known, write, closed }: Frame): boolean {
    const part = this.#part;
    const replica = part.replica(to);
    if (replica.isLost) return false;
    if (!part.isBroken('anyConfig')) {
      if (cfg > part.configOf(to)) part.apply(to, known);
      if (cfg < part.configOf(to)) return false;
    }
    if (holder.token < part.fenceOf(to)) return false;
    replica.token = Math.max(replica.token, holder.token);
    const record = part.recordAt(replica.applied);
    const isJoining = record.joining.includes(to);
    const { length } = replica.chain;
    const wish = [...write.after, write.name];
    const isDuplicate = isPrefix(wish, replica.chain);
    const isNext = length === write.after.length && isPrefix(replica.chain, write.after);
    if (isNext) replica.chain = wish;
    else if (!isDuplicate && !(isJoining && this.#recover(to, record, wish))) return false;
    if (isJoining) replica.syncedFor = record.joinedAt;
    replica.closed = Math.max(replica.closed, closed);
    const isNews = replica.chain.length !== length;
    if (isNews && holder.token < this.#opened && part.now.inSync.includes(to)) part.fail('A11b');
    return true;
  }

  /** A joiner that does not know what comes before a write gets it from a member first (4.6). */
  #recover(joiner: number, record: MapRecord, wish: Chain): boolean {
    const part = this.#part;
    const { isLost, applied, chain, closed } = part.replica(part.random.pick(part.sureOf(record)));
    if (isLost || applied < record.joinedAt) return false;
    const isBefore = chain.length === wish.length - 1 && isPrefix(chain, wish);
    if (!isBefore && !isPrefix(wish, chain)) return false;
    part.copyFrom(joiner, isBefore ? wish : chain, closed);
    return true;
  }

  /** R3 at the holder, by the config that it knows now. */
  #confirm({ holder, to, cfg, write }: Frame): void {
    const part = this.#part;
    const at = holder.pipeline.indexOf(write);
    if (holder.isDead || at < 0 || write.cfg !== cfg) return;
    write.confirmed.add(to);
    const record = part.recordAt(holder.known);
    if (record.cfg !== cfg || !this.#suffices(record, write.confirmed)) return;
    const sure = record.inSync.filter((node) => write.confirmed.has(node));
    if (sure.length < MIN_COPIES) part.forbid('R3');
    // A replica that has a write has those before it (R1).
    for (const done of holder.pipeline.splice(0, at + 1)) {
      if (done.isLate) part.fail('A11a');
      if (done.newestCfg > cfg) part.fail('I3');
      part.acknowledged.push(done.name);
      part.tally.acknowledged += 1;
    }
    this.#newestCfg = Math.max(this.#newestCfg, cfg);
    holder.chain = [...write.after, write.name];
  }

  #suffices(record: MapRecord, confirmed: ReadonlySet<number>): boolean {
    const part = this.#part;
    const all = part.writeSet(record);
    const has = (nodes: readonly number[]): number =>
      nodes.filter((node) => confirmed.has(node)).length;
    if (part.isBroken('majorityConfirms')) return has(all) > all.length / 2;
    if (has(all) < all.length) return false;
    if (part.isBroken('fewConfirm')) return true;
    return has(part.isBroken('joinersCount') ? all : record.inSync) >= MIN_COPIES;
  }

  // ------------------------------------------------------------------------------------------ takeover

  /** A takeover by the log, or its barrier. */
  takeOver(): void {
    const part = this.#part;
    const present = this.#present;
    if (present.token <= MAX_TAKEOVERS && part.random.chance(0.25)) {
      present.isDead = part.random.chance(0.5);
      const token = present.token + 1;
      part.log.push({ ...part.now, token });
      this.#all.push(newHolder(token, part.last, 'waiting'));
      if (part.isBroken('noBarrier')) this.#barrierDone();
      if (part.isBroken('fenceBesideLog')) {
        part.replica(part.random.pick(part.now.inSync)).token = token;
        this.#barrierDone();
      }
    } else if (present.phase === 'waiting') {
      const node = part.random.pick(part.now.inSync);
      if (part.replica(node).isLost) return;
      part.apply(node, present.takenAt);
      this.#barrierDone();
    }
  }

  #barrierDone(): void {
    this.#present.phase = 'touching';
    this.#barred = this.#present.token;
  }

  /** One step of the present holder's first touch; a new cfg begins it anew. */
  touch(): void {
    const part = this.#part;
    const holder = this.#present;
    if (holder.phase !== 'touching') return;
    const record = part.recordAt(holder.known);
    const isNew = holder.touch?.cfg !== record.cfg;
    const touch: Touch =
      isNew || holder.touch === undefined
        ? { cfg: record.cfg, sealed: new Map(), left: undefined, closed: 0 }
        : holder.touch;
    holder.touch = touch;
    const joining = part.isBroken('touchInSyncOnly') ? [] : record.joining;
    const members = [...record.inSync, ...joining];
    const unsealed = members.filter((node) => !touch.sealed.has(node));
    if (unsealed.length > 0) this.#seal(holder, touch, part.random.pick(unsealed));
    else if (touch.left === undefined) this.#chooseWinner(holder, touch, members);
    else if (touch.left.length > 0) this.#equalise(holder, touch, part.random.pick(touch.left));
    else this.#open(holder);
  }

  /** True when the member answers; else the holder may have something to learn. */
  #reaches(holder: Holder, node: number): boolean {
    const part = this.#part;
    const { cfg } = part.recordAt(holder.known);
    const answers =
      !part.replica(node).isLost &&
      part.configOf(node) <= cfg &&
      part.fenceOf(node) <= holder.token;
    if (!answers && holder.known < part.last) holder.known += 1;
    if (!answers || part.isBroken('touchUnsealed')) return answers;
    part.apply(node, holder.known);
    part.replica(node).token = holder.token;
    return true;
  }

  #seal(holder: Holder, touch: Touch, node: number): void {
    if (!this.#reaches(holder, node)) return;
    const { chain, closed } = this.#part.replica(node);
    touch.sealed.set(node, { chain, closed });
  }

  /** The longest history among I; nothing is to be done where nobody lists the object as open. */
  #chooseWinner(holder: Holder, touch: Touch, members: readonly number[]): void {
    const part = this.#part;
    const record = part.recordAt(holder.known);
    const inSync = part.isBroken('doubtfulWins') ? record.inSync : part.sureOf(record);
    const pool = part.isBroken('strangersWin')
      ? part.replicas.filter(({ isLost }) => !isLost)
      : inSync.map((node) => touch.sealed.get(node));
    holder.chain = [];
    for (const one of pool) {
      if (one === undefined || one.chain.length < holder.chain.length) continue;
      holder.chain = one.chain;
      touch.closed = one.closed;
    }
    const isListed = [...touch.sealed.values()].some((one) => one.chain.length > one.closed);
    touch.left = isListed ? [...members] : [];
  }

  #equalise(holder: Holder, touch: Touch, node: number): void {
    if (!this.#reaches(holder, node)) return;
    const part = this.#part;
    const replica = part.replica(node);
    const isEqual =
      replica.chain.length === holder.chain.length && isPrefix(holder.chain, replica.chain);
    if (!isEqual) part.copyFrom(node, holder.chain, touch.closed);
    const { joining, joinedAt } = part.recordAt(holder.known);
    if (joining.includes(node)) replica.syncedFor = joinedAt;
    touch.left = (touch.left ?? []).filter((one) => one !== node);
  }

  #open(holder: Holder): void {
    const part = this.#part;
    holder.phase = 'open';
    this.#opened = holder.token;
    part.tally.touched += 1;
    if (!part.acknowledged.every((write) => holder.chain.includes(write))) part.fail('A11c');
    if (part.read !== undefined && !isKept(part.read, holder.chain)) part.fail('I12');
  }

  /** One step of a read from one member alone, where the others may not leave: they are doubtful first (4.5). */
  readAlone(): void {
    const part = this.#part;
    const holder = this.#present;
    if (holder.phase !== 'touching') return;
    const record = part.recordAt(holder.known);
    const node = part.random.pick(part.sureOf(record));
    const others = record.inSync.filter((one) => one !== node);
    const areDoubtful = others.every((one) => record.doubtful.includes(one));
    if (!areDoubtful && !part.isBroken('readsUndoubted')) {
      if (record.cfg !== part.now.cfg || part.replica(node).isLost) return;
      const { inSync, joining, joinedAt } = record;
      // A joiner may have its copy from one that is doubtful now: it drains anew, under the new cfg.
      part.drained = undefined;
      const since = joining.length > 0 ? part.last + 1 : joinedAt;
      part.reconfigure({ inSync, joining, doubtful: others, joinedAt: since });
      return;
    }
    if (!this.#reaches(holder, node) || part.configOf(node) !== record.cfg) return;
    if (!part.isOpen(node)) part.read = { chain: part.replica(node).chain, token: holder.token };
  }
}

/** I12: what was read is not changed by a write of an older token. */
function isKept({ chain, token }: ReadAlone, now: Chain): boolean {
  const next = now[chain.length];
  return isPrefix(chain, now) && (next === undefined || tokenOf(next) >= token);
}

function newHolder(token: number, takenAt: number, phase: Holder['phase']): Holder {
  const rest = { isDead: false, chain: [], pipeline: [], count: 0, touch: undefined };
  return { token, takenAt, known: takenAt, phase, ...rest };
}
