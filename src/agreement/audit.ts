// Equal index means equal state hash (A4, C2.8). Nodes compare hashes of audit points; where two differ, each asks the
// voters. Who differs from a majority of them has a broken state machine or broken memory, and must not serve any more.
// Where the voters are divided, all members are asked; where they are, too, nobody ends, and people are told.

import { OperatingError } from '../core/errors.ts';
import type { MapIndex, NodeId } from '../core/ids.ts';
import type { Trace } from '../ports/ports.ts';
import type { ReplyBody, RequestBody } from '../wire/messages.ts';
import { MAX_REACH_ASKED } from './ask-members.ts';

/** How long a voter may take to answer. */
export const AUDIT_TIMEOUT_MS = 2000;

/** `broken`: most voters say otherwise. `right`: most voters say the same. `unclear`: neither; the next digest asks anew. */
export type AuditVerdict = 'broken' | 'right' | 'unclear';

/**
 * @param said what each voter's state hashed to; '' or undefined: it does not know
 * @param own this node's hash
 */
export function judgeAudit(said: readonly (string | undefined)[], own: string): AuditVerdict {
  const needed = Math.floor(said.length / 2) + 1;
  const counts = new Map<string, number>();
  for (const hash of said) {
    if (hash !== undefined && hash !== '') counts.set(hash, (counts.get(hash) ?? 0) + 1);
  }
  for (const [hash, count] of counts) {
    if (count >= needed) return hash === own ? 'right' : 'broken';
  }
  return 'unclear';
}

/** The same where the voters were divided: most of the members that know, two at least. */
export function judgeAuditByAll(said: readonly (string | undefined)[], own: string): AuditVerdict {
  const known = said.filter((hash) => hash !== undefined && hash !== '');
  return known.length < MIN_WITNESSES ? 'unclear' : judgeAudit(known, own);
}

/** Fewer than this are no majority of anything. */
const MIN_WITNESSES = 3;

export interface AuditorOptions {
  readonly self: NodeId;
  readonly trace: Trace;
  readonly voters: () => readonly NodeId[];
  /** Members that are up, voters or not. */
  readonly members: () => readonly NodeId[];
  readonly hashAt: (index: number) => string;
  readonly ask: (node: NodeId, body: RequestBody, timeoutMs: number) => Promise<ReplyBody>;
  /** Most say as this node does, that one does not. */
  readonly onSplit: (node: NodeId) => void;
  /** This node must not go on. */
  readonly onBroken: (error: OperatingError) => void;
}

export class Auditor {
  readonly #options: AuditorOptions;
  #isAsking = false;
  #disputed = 0;

  constructor(options: AuditorOptions) {
    this.#options = options;
  }

  /** The last index at which members differ and nobody can say who is right; 0 = none. */
  get disputedIndex(): number {
    return this.#disputed;
  }

  /** What another node's state hashed to after `index`. */
  compare(from: NodeId, index: number, hash: string): void {
    const own = this.#options.hashAt(index);
    if (index === 0 || own === '' || hash === '' || this.#isAsking) return;
    if (own === hash) {
      // Agreed on later: what differed was mended.
      if (index > this.#disputed) this.#disputed = 0;
      return;
    }
    this.#options.trace.warn('map.audit.differs', { node: from, index });
    this.#isAsking = true;
    this.#judge(from, index, own)
      .catch((error: unknown) => {
        if (!(error instanceof OperatingError)) throw error;
      })
      .finally(() => {
        this.#isAsking = false;
      });
  }

  async #judge(from: NodeId, index: number, own: string): Promise<void> {
    const { voters, members, trace, onBroken, onSplit } = this.#options;
    let verdict = judgeAudit(await this.#hashesOf(voters(), index, own), own);
    if (verdict === 'unclear') {
      const all = members().slice(0, MAX_REACH_ASKED);
      verdict = judgeAuditByAll(await this.#hashesOf(all, index, own), own);
    }
    trace.warn('map.audit.judged', { index, verdict });
    this.#disputed = verdict === 'unclear' ? index : 0;
    if (verdict === 'right') onSplit(from);
    if (verdict === 'broken') onBroken(brokenState(index));
  }

  #hashesOf(
    nodes: readonly NodeId[],
    index: number,
    own: string,
  ): Promise<readonly (string | undefined)[]> {
    const { self } = this.#options;
    return Promise.all(nodes.map((node) => (node === self ? own : this.#hashOf(node, index))));
  }

  async #hashOf(voter: NodeId, index: number): Promise<string | undefined> {
    const body = { type: 'audit', index: index as MapIndex } as const;
    const reply = await this.#options.ask(voter, body, AUDIT_TIMEOUT_MS).catch(silence);
    return reply?.type === 'audit' ? reply.hash : undefined;
  }
}

function silence(error: unknown): undefined {
  if (!(error instanceof OperatingError)) throw error;
}

function brokenState(index: number): OperatingError {
  return new OperatingError(
    'diverged',
    `the map of this node differs from that of the voters at index ${index}: its memory, its disk or its program is broken`,
    {
      remedy:
        'start it again: it takes the map from the others; if it ends again, check the memory of this host and that all nodes run the same version',
    },
  );
}
