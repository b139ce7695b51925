// Equal index means equal state hash (A4, C2.8). Nodes compare hashes of audit points; where two differ, each asks the
// voters. Who differs from a majority of them has a broken state machine or broken memory, and must not serve any more.

import { OperatingError } from '../core/errors.ts';
import type { MapIndex, NodeId } from '../core/ids.ts';
import type { Trace } from '../ports/ports.ts';
import type { ReplyBody, RequestBody } from '../wire/messages.ts';

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

export interface AuditorOptions {
  readonly self: NodeId;
  readonly trace: Trace;
  readonly voters: () => readonly NodeId[];
  readonly hashAt: (index: number) => string;
  readonly ask: (node: NodeId, body: RequestBody, timeoutMs: number) => Promise<ReplyBody>;
  /** This node must not go on. */
  readonly onBroken: (error: OperatingError) => void;
}

export class Auditor {
  readonly #options: AuditorOptions;
  #isAsking = false;

  constructor(options: AuditorOptions) {
    this.#options = options;
  }

  /** What another node's state hashed to after `index`. */
  compare(from: NodeId, index: number, hash: string): void {
    const own = this.#options.hashAt(index);
    if (index === 0 || own === '' || hash === '' || own === hash || this.#isAsking) return;
    this.#options.trace.warn('map.audit.differs', { node: from, index });
    this.#isAsking = true;
    this.#judge(index, own)
      .catch((error: unknown) => {
        if (!(error instanceof OperatingError)) throw error;
      })
      .finally(() => {
        this.#isAsking = false;
      });
  }

  async #judge(index: number, own: string): Promise<void> {
    const { self, voters, trace, onBroken } = this.#options;
    const said = await Promise.all(
      voters().map((voter) => (voter === self ? own : this.#hashOf(voter, index))),
    );
    const verdict = judgeAudit(said, own);
    trace.warn('map.audit.judged', { index, verdict });
    if (verdict === 'broken') onBroken(brokenState(index));
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
        'check the memory of this host and that all nodes run the same version; then start it on an empty data directory',
    },
  );
}
