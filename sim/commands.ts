// A client that gives commands through one node: makes and deletes volumes, takes their locks by a write and gives them
// back by a disconnect. It may lose patience and go on with something else; its node may die under it. What it was told,
// and when, goes into a CommandHistory for checkers/linearizable.ts.

import { hasCode, OperatingError } from '../src/core/errors.ts';
import { MIB } from '../src/core/units.ts';
import type { VolumeSession } from '../src/datapath/volume-session.ts';
import type { Answer, Command, CommandKind } from './checkers/linearizable.ts';
import { BLOCK_BYTES } from './guest-block.ts';
import type { Life, SimNode } from './sim-node.ts';
import type { SimRandom } from './sim-random.ts';
import type { World } from './world.ts';

const VOLUME_BYTES = MIB;
const THINK_MS = 500;
/** How long a volume is kept locked. */
const HOLD_MS = 1500;
/** An answer is waited for as long as this by some, by others a tenth of it. */
const MAX_PATIENCE_MS = 25_000;
/** After a fault is over, verdicts on it may still be on their way. */
const AFTERMATH_MS = 30_000;

/** All that the clients of a run asked and were told. */
export class CommandHistory {
  readonly commands: Command[] = [];
  #place = 0;
  #session = 0;

  newSession(): number {
    this.#session += 1;
    return this.#session;
  }

  begin(kind: CommandKind, name: string, session = 0): Command {
    this.#place += 1;
    const start = this.#place;
    const command: Command = {
      ...{ kind, name, session, start },
      end: Number.POSITIVE_INFINITY,
      answer: undefined,
    };
    this.commands.push(command);
    return command;
  }

  end(command: Command, answer: Answer | undefined): void {
    this.#place += 1;
    if (answer === undefined) return;
    command.end = this.#place;
    command.answer = answer;
  }

  /** Commands of this kind with this answer; '' = without one. */
  count(kind: CommandKind, code: Answer['code'] | ''): number {
    return this.commands.filter(
      (command) => command.kind === kind && (command.answer?.code ?? '') === code,
    ).length;
  }
}

/** A lock that the client has, or may have. */
interface Hold {
  readonly name: string;
  readonly number: number;
  readonly session: VolumeSession;
  readonly life: Life;
}

/** What a command does at its node; it is told whether anybody still waits. */
type Call = (isOver: () => boolean) => Promise<Answer | undefined>;

/** Gives one command after the other, for ever, through one node. */
export class CommandClient {
  readonly #world: World;
  readonly #node: SimNode;
  readonly #names: readonly string[];
  readonly #history: CommandHistory;
  readonly #random: SimRandom;
  /** By name: at most one each. */
  readonly #holds = new Map<string, Hold>();
  /** The same session of the node is the same in the history. */
  readonly #numbers = new WeakMap<VolumeSession, number>();
  #isWorking = false;
  #isHurt = false;
  #hurtUntilMs = 0;

  constructor(
    world: World,
    node: SimNode,
    options: { readonly names: readonly string[]; readonly history: CommandHistory },
  ) {
    this.#world = world;
    this.#node = node;
    this.#names = options.names;
    this.#history = options.history;
    this.#random = world.random.fork(`client ${node.name}`);
  }

  start(): void {
    this.#isWorking = true;
    this.#later(THINK_MS);
  }

  /** Asks for nothing new; what is under way goes on. */
  freeze(): void {
    this.#isWorking = false;
  }

  /** Something befalls the node now: its locks may be taken over from here on. */
  hurt(): void {
    this.#isHurt = true;
    for (const hold of this.#holds.values()) this.#lapse(hold);
  }

  healed(): void {
    this.#isHurt = false;
    this.#hurtUntilMs = this.#world.nowMs + AFTERMATH_MS;
  }

  get #isSuspect(): boolean {
    return this.#isHurt || this.#world.nowMs < this.#hurtUntilMs;
  }

  /** Its own node may give back what it holds, in order or by its sweep; the others may call it down. */
  #lapse({ name, number }: Pick<Hold, 'name' | 'number'>): void {
    this.#history.begin('lapse', name, number);
    this.#history.begin('release', name, number);
  }

  #later(ms: number): void {
    this.#world.schedule(this.#random.exponential(ms), undefined, () => {
      if (!this.#isWorking) return;
      if (this.#node.isRunning) this.#command();
      else this.#later(THINK_MS);
    });
  }

  #command(): void {
    const life = this.#node.running();
    for (const hold of this.#holds.values()) {
      if (hold.life !== life) this.#holds.delete(hold.name);
    }
    const name = this.#random.pick(this.#names);
    const held = this.#holds.get(name);
    if (held !== undefined) {
      this.#release(held);
      return;
    }
    const dice = this.#random.unit();
    if (dice < 0.3) this.#create(life, name);
    else if (dice < 0.55) this.#delete(life, name);
    else this.#lock(life, name);
  }

  // ------------------------------------------------------------------------------------------ the commands

  #create(life: Life, name: string): void {
    const call = async (): Promise<Answer> => {
      const id = await life.handle.createVolume({ name, sizeBytes: VOLUME_BYTES });
      return { code: 'ok', id };
    };
    this.#ask(life, this.#history.begin('create', name), call);
  }

  #delete(life: Life, name: string): void {
    const call = async (): Promise<Answer> => {
      await life.handle.deleteVolume(name);
      return { code: 'ok' };
    };
    this.#ask(life, this.#history.begin('delete', name), call);
  }

  /** A write takes the lock. Refused or not, the session stays connected until it is given back. */
  #lock(life: Life, name: string): void {
    const { handle } = life;
    const command = this.#history.begin('lock', name, this.#history.newSession());
    const call = async (isOver: () => boolean): Promise<Answer | undefined> => {
      await handle.lookUpVolume(name);
      if (isOver()) return undefined;
      const session = handle.openVolume(name);
      command.session = this.#numbers.get(session) ?? command.session;
      this.#numbers.set(session, command.session);
      session.connect();
      const hold = { name, number: command.session, session, life };
      this.#holds.set(name, hold);
      // Whatever befell the node while the command was under way, befell its session.
      if (this.#isSuspect) this.#lapse(hold);
      return lockBy(session);
    };
    this.#ask(life, command, call);
  }

  #release(hold: Hold): void {
    const { name, number, session, life } = hold;
    this.#holds.delete(name);
    const call = async (): Promise<Answer | undefined> => {
      await session.disconnect();
      const { handle } = life;
      const { node } = handle.status();
      const lock = handle.view()?.volumes.get(session.volume.id as never)?.lock;
      // The wait for it is bounded: it may be given back later.
      const isOurs = lock?.state === 'held' && lock.node === node;
      return isOurs ? undefined : { code: 'ok' };
    };
    this.#ask(life, this.#history.begin('release', name, number), call);
  }

  // ------------------------------------------------------------------------------------------ answers

  /** Asks, and goes on after the answer or when patience is at its end. */
  #ask(life: Life, command: Command, call: Call): void {
    let isOver = false;
    const over = (answer: Answer | undefined, text: string): void => {
      if (isOver) return;
      isOver = true;
      this.#history.end(command, answer);
      this.#world.note('client', command.kind, `${this.#node.name} ${command.name} ${text}`);
      const hold = this.#holds.get(command.name);
      const isUseless = command.kind === 'lock' && answer?.code !== 'ok';
      if (hold !== undefined && isUseless && hold.life === life) this.#drop(hold);
      this.#later(command.kind === 'lock' ? HOLD_MS : THINK_MS);
    };
    const scale = this.#random.pick([0.1, 1]);
    const patienceMs = this.#random.unit() * MAX_PATIENCE_MS * scale;
    this.#world.schedule(patienceMs, undefined, () => over(undefined, 'waits no more'));
    const tell = (answer: Answer | undefined, text: string): void => {
      this.#world.schedule(0, undefined, () => over(answer, text));
    };
    this.#world.enter(life.process, () => {
      call(() => isOver).then(
        (answer) => tell(answer, `${answer?.code ?? 'unknown'} ${answer?.id ?? ''}`),
        (error: unknown) => tell(...meaningOf(error)),
      );
    });
  }

  /** A session that did not get the lock, or nobody knows. */
  #drop(hold: Hold): void {
    this.#holds.delete(hold.name);
    if (!hold.life.process.isAlive) return;
    this.#history.begin('release', hold.name, hold.number);
    this.#world.enter(hold.life.process, () => void hold.session.disconnect());
  }
}

function lockBy(session: VolumeSession): Promise<Answer> {
  const { id } = session.volume;
  return new Promise((resolve, reject) => {
    session.write(0, new Uint8Array(BLOCK_BYTES).fill(1), (error) => {
      if (error === undefined) resolve({ code: 'ok', id });
      else if (error.code === 'gone') resolve({ code: 'gone', id });
      else reject(error);
    });
  });
}

/** What an error says for sure; undefined = the command may have happened all the same. */
function meaningOf(error: unknown): readonly [Answer | undefined, string] {
  if (!(error instanceof OperatingError)) throw error;
  for (const code of ['exists', 'missing', 'held'] as const) {
    if (hasCode(error, code)) return [{ code }, code];
  }
  return [undefined, error.code];
}
