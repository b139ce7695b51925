// C2.3: commands about volumes, given through any nodes, answer as if they had happened one after the other, each at one
// moment between its asking and its answer. A search for such an order (Wing and Gong, with Lowe's memory of what was
// tried), name by name, for names do not meet. A command without an answer may take effect at any later moment, or never.
// Knows nothing of nodes or logs. Times are places in the order of the run: no two are equal.

export type CommandKind =
  | 'create'
  | 'delete'
  /** A session gets the volume's lock. */
  | 'lock'
  /** The same session gives it back. */
  | 'release'
  /** Something befell the session's node: from here on others may take its lock. Never answered. */
  | 'lapse';

export interface Answer {
  readonly code: 'ok' | 'exists' | 'missing' | 'held' | 'gone';
  /** The volume that it speaks of: of a create or lock that was done, and of a lock whose volume is gone. */
  readonly id?: number;
}

/** One command, and what became of it. */
export interface Command {
  readonly kind: CommandKind;
  readonly name: string;
  /** Who locks, releases or lapses; 0 for the others. Of a lock known a while after its start. */
  session: number;
  readonly start: number;
  /** Infinity: never answered. */
  end: number;
  /** Undefined: it may have happened, may still happen, or not. */
  answer: Answer | undefined;
}

export interface Verdict {
  readonly outcome: 'right' | 'wrong' | 'undecided';
  /** One sentence; empty when right. */
  readonly reason: string;
}

/** Steps of one name's search; a history that needs more is undecided, and that is not a pass. */
export const MAX_SEARCH_STEPS = 400_000;

/** What a name stands for. */
interface State {
  /** 0: nothing. Below 0: a volume whose number nobody was told yet. */
  readonly id: number;
  /** Session with the lock; 0: free. */
  readonly holder: number;
  readonly isLapsed: boolean;
  /** Highest number so far: numbers rise, none comes twice. */
  readonly last: number;
}

/** Answers of commands that changed nothing, whatever state gave them. */
const LOOKS: ReadonlySet<Answer['code']> = new Set(['exists', 'missing', 'held']);

const NOTHING: State = { id: 0, holder: 0, isLapsed: false, last: 0 };
const UNNAMED = -1;

/** Judges all names; the first wrong one wins over an undecided one. */
export function judgeCommands(history: readonly Command[]): Verdict {
  const names = [...new Set(history.map(({ name }) => name))].sort();
  let verdict: Verdict = { outcome: 'right', reason: '' };
  for (const name of names) {
    const one = new Search(history.filter((command) => command.name === name)).run();
    if (one.outcome === 'wrong') return one;
    if (one.outcome === 'undecided') verdict = one;
  }
  return verdict;
}

/** The state after a command with this answer; undefined = that can not be its answer here. */
function answered(state: State, command: Command, answer: Answer): State | undefined {
  const isHere = state.id !== 0;
  const isFree = state.holder === 0;
  switch (command.kind) {
    case 'create':
      if (answer.code === 'exists') return isHere ? state : undefined;
      return answer.code === 'ok' && !isHere ? created(state, answer.id ?? UNNAMED) : undefined;
    case 'delete':
      if (answer.code === 'missing') return isHere ? undefined : state;
      if (answer.code === 'held') return isHere && !isFree ? state : undefined;
      return answer.code === 'ok' && isHere && isFree ? { ...state, id: 0 } : undefined;
    case 'lock':
      return lockAnswered(state, command.session, answer);
    case 'release':
      // Taken over meanwhile: nothing is left to give back.
      if (state.holder !== command.session) return state;
      return { ...state, holder: 0, isLapsed: false };
    case 'lapse':
      return undefined;
  }
}

function lockAnswered(state: State, session: number, answer: Answer): State | undefined {
  const { id, holder, isLapsed } = state;
  switch (answer.code) {
    case 'missing':
      return id === 0 ? state : undefined;
    case 'held':
      return id !== 0 && holder !== 0 && holder !== session ? state : undefined;
    case 'gone': {
      const gone = answer.id ?? 0;
      return id === gone ? undefined : { ...state, last: Math.max(state.last, gone) };
    }
    case 'ok': {
      const mayTake = holder === 0 || holder === session || isLapsed;
      const found = mayTake ? known(state, answer.id) : undefined;
      return found === undefined ? undefined : { ...found, holder: session, isLapsed: false };
    }
    default:
      return undefined;
  }
}

/** The state after a command that nobody was answered; undefined = it changes nothing: it need not happen. */
function unanswered(state: State, command: Command): State | undefined {
  const { id, holder, isLapsed } = state;
  const isMine = holder !== 0 && holder === command.session;
  switch (command.kind) {
    case 'create':
      return id === 0 ? created(state, UNNAMED) : undefined;
    case 'delete':
      return id !== 0 && holder === 0 ? { ...state, id: 0 } : undefined;
    case 'lock':
      if (id === 0 || isMine || (holder !== 0 && !isLapsed)) return undefined;
      return { ...state, holder: command.session, isLapsed: false };
    case 'release':
      return isMine ? { ...state, holder: 0, isLapsed: false } : undefined;
    case 'lapse':
      return isMine && !isLapsed ? { ...state, isLapsed: true } : undefined;
  }
}

function created(state: State, id: number): State | undefined {
  if (id !== UNNAMED && id <= state.last) return undefined;
  return { id, holder: 0, isLapsed: false, last: Math.max(state.last, id) };
}

/** The volume here is number `id`; undefined when it is another one. */
function known(state: State, id: number | undefined): State | undefined {
  if (state.id === 0) return undefined;
  if (id === undefined || state.id === id) return state;
  return state.id === UNNAMED && id > state.last ? { ...state, id, last: id } : undefined;
}

/** The search over one name. */
class Search {
  readonly #all: readonly Command[];
  readonly #tried = new Set<string>();
  #steps = 0;
  /** Most answered commands that any order explained, and what it could not go on with. */
  #deepest = -1;
  #stuck: Command | undefined;

  constructor(commands: readonly Command[]) {
    // By their ends: what was answered first is tried first, what was never answered last.
    this.#all = [...commands].sort((a, b) => a.end - b.end || a.start - b.start);
  }

  run(): Verdict {
    const isRight = this.#explains(0n, NOTHING, 0);
    if (isRight) return { outcome: 'right', reason: '' };
    const at = this.#stuck === undefined ? '' : describe(this.#stuck);
    if (this.#steps > MAX_SEARCH_STEPS) {
      return {
        outcome: 'undecided',
        reason: `C2.3: ${MAX_SEARCH_STEPS} steps do not decide ${at}`,
      };
    }
    return { outcome: 'wrong', reason: `C2.3: no order of commands explains ${at}` };
  }

  /** Whether the commands not in `done` can follow on `state`. */
  #explains(done: bigint, state: State, depth: number): boolean {
    const first = this.#firstOpen(done);
    if (first === undefined) return true;
    if (depth > this.#deepest) {
      this.#deepest = depth;
      this.#stuck = first;
    }
    const key = `${done.toString(36)} ${state.id} ${state.holder} ${state.isLapsed} ${state.last}`;
    if (this.#tried.has(key)) return false;
    this.#tried.add(key);
    this.#steps += 1;
    if (this.#steps > MAX_SEARCH_STEPS) return false;
    const lapse = this.#lapseOf(state, done, first);
    // Whatever can follow on a lock that nobody may take can follow on one that others may: no need to try both.
    if (lapse >= 0)
      return this.#explains(done | (1n << BigInt(lapse)), { ...state, isLapsed: true }, depth);
    const look = this.#lookAt(state, done, first);
    if (look >= 0) return this.#explains(done | (1n << BigInt(look)), state, depth + 1);
    const sameKind = new Set<CommandKind>();
    for (const [at, command] of this.#all.entries()) {
      const bit = 1n << BigInt(at);
      // Who was asked after another one's answer can not come before it.
      if (command.start > first.end || (done & bit) !== 0n) continue;
      const { answer } = command;
      if (answer === undefined && command.session === 0) {
        // Of those nobody was answered one is as good as another: the one that was asked first stands for all.
        if (sameKind.has(command.kind)) continue;
        sameKind.add(command.kind);
      }
      const next =
        answer === undefined ? unanswered(state, command) : answered(state, command, answer);
      if (next === undefined) continue;
      if (this.#explains(done | bit, next, answer === undefined ? depth : depth + 1)) return true;
    }
    return false;
  }

  /**
   * A command that only looked and that this state explains; -1 = none. Nothing that is left has to come before it, and
   * it changes nothing: an order that has it later can have it here.
   */
  #lookAt(state: State, done: bigint, first: Command): number {
    return this.#all.findIndex(
      (command, at) =>
        command.answer !== undefined &&
        LOOKS.has(command.answer.code) &&
        command.start <= first.end &&
        (done & (1n << BigInt(at))) === 0n &&
        answered(state, command, command.answer) !== undefined,
    );
  }

  /** A lapse of the holder that may have been by now; -1 = none. */
  #lapseOf({ holder, isLapsed }: State, done: bigint, first: Command): number {
    if (holder === 0 || isLapsed) return -1;
    return this.#all.findIndex(
      (command, at) =>
        command.kind === 'lapse' &&
        command.session === holder &&
        command.start <= first.end &&
        (done & (1n << BigInt(at))) === 0n,
    );
  }

  /** The answered command with the earliest end that is not in `done`. */
  #firstOpen(done: bigint): Command | undefined {
    for (const [at, command] of this.#all.entries()) {
      if (command.answer !== undefined && (done & (1n << BigInt(at))) === 0n) return command;
    }
    return undefined;
  }
}

function describe(command: Command): string {
  const { kind, name, session, answer, start, end } = command;
  const by = session === 0 ? '' : ` by session ${session}`;
  const number = answer?.id === undefined ? '' : ` ${answer.id}`;
  return `${kind} ${name}${by} = ${answer?.code ?? '?'}${number} [${start}, ${end}]`;
}
