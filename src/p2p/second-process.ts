// Two processes with one identity: a data directory was copied, and both copies run. Each process names itself by a random
// number in what libp2p's identify tells of it. Where a second one connects while the first one answers, its connection is
// worth no more than a stranger's: it may knock, and is told why. A first one that is dead and was not noticed yet (its
// host lost power) gives way.

import type { Connection, PeerId } from '@libp2p/interface';
import type { Random } from '../ports/ports.ts';

/** A first process that does not say in this time that it lives does not live, in ms. */
export const FIRST_ANSWER_MS = 1000;
const AGENT_PREFIX = 'sheep/1 ';
const NUMBER_BYTES = 8;

/** What this process calls itself. */
export function newAgent(random: Random): string {
  return AGENT_PREFIX + Buffer.from(random.bytes(NUMBER_BYTES)).toString('hex');
}

export interface SecondProcessOptions {
  readonly connectionsTo: (peer: PeerId) => readonly Connection[];
  /** Asks the process at the other end to name itself again. Rejects when it does not answer in time. */
  readonly askAgain: (connection: Connection, timeoutMs: number) => Promise<unknown>;
  readonly onSecond: (connection: Connection, listens: string | undefined) => void;
}

export class SecondProcess {
  readonly #options: SecondProcessOptions;
  readonly #agents = new WeakMap<Connection, string>();
  readonly #seconds = new WeakSet<Connection>();
  readonly #judgements = new WeakMap<Connection, PromiseWithResolvers<void>>();

  constructor(options: SecondProcessOptions) {
    this.#options = options;
  }

  /** True for a connection of a process whose identity another one has, which came first and lives. */
  has(connection: Connection): boolean {
    return this.#seconds.has(connection);
  }

  /** Resolves when the peer has named itself on this connection, and `has` says what came of it; perhaps never. */
  judged(connection: Connection): Promise<void> {
    return this.#judgementOf(connection).promise;
  }

  /** A peer named itself on a connection. Programs that do not tell their processes apart are never second. */
  note(connection: Connection, agent: string, listens: string | undefined): void {
    if (this.#agents.has(connection)) return;
    this.#agents.set(connection, agent);
    const { connectionsTo, askAgain, onSecond } = this.#options;
    const first = connectionsTo(connection.remotePeer).find(
      (other) => other.status === 'open' && this.#isOther(other, agent),
    );
    const { resolve } = this.#judgementOf(connection);
    if (first === undefined) {
      resolve();
      return;
    }
    askAgain(first, FIRST_ANSWER_MS).then(
      () => {
        this.#seconds.add(connection);
        resolve();
        onSecond(connection, listens);
      },
      () => {
        resolve();
        first.abort(new DOMException('another process of this peer is here', 'AbortError'));
      },
    );
  }

  #isOther(connection: Connection, agent: string): boolean {
    const known = this.#agents.get(connection) ?? '';
    const areNamed = agent.startsWith(AGENT_PREFIX) && known.startsWith(AGENT_PREFIX);
    return areNamed && known !== agent && !this.#seconds.has(connection);
  }

  #judgementOf(connection: Connection): PromiseWithResolvers<void> {
    const known = this.#judgements.get(connection);
    if (known !== undefined) return known;
    const made = Promise.withResolvers<void>();
    this.#judgements.set(connection, made);
    return made;
  }
}
