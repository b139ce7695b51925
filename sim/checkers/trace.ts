// Looks at what nodes say to their Trace: A1 (a term has at most one leader), and warnings that no run may end with: an
// event that an actor has no transition for, a broken rule of Raft, states that differ at one index (A4), a request that its
// receiver takes for nonsense.

import type { TraceFields } from '../../src/ports/ports.ts';

const NEVER: ReadonlySet<string> = new Set([
  'warn event.unexpected',
  'warn raft.violation',
  'warn map.audit.differs',
  'warn rpc.request.wrong',
]);

/** Remembers who led each term; `note` gives the first contradiction as a sentence. */
export class TraceChecker {
  readonly #leaders = new Map<unknown, string>();
  /** Warnings that this story makes on purpose. */
  readonly expected = new Set<string>();

  /** @param node the name of the host, so that restarts are seen as one node */
  note(node: string, name: string, fields: TraceFields): string | undefined {
    if (NEVER.has(name) && !this.expected.has(name))
      return `C-trace: ${node}: ${name} ${JSON.stringify(fields)}`;
    if (name !== 'raft.role' || fields['role'] !== 'leader') return undefined;
    const term = fields['term'];
    const before = this.#leaders.get(term);
    this.#leaders.set(term, node);
    if (before === undefined || before === node) return undefined;
    return `A1: term ${String(term)} has two leaders, ${before} and ${node}`;
  }
}
