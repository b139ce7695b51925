// Programmer errors. An invariant that breaks ends the process: a node down is cheaper than a wrong copy.
// Whatever comes from the network or a disk is checked with an OperatingError instead, never asserted.

/** Thrown by `invariant`; the process exits with code 70. Nobody catches it to go on. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

/**
 * States what must be true here by our own code.
 * @param claim one claim, said as a sentence that is true
 * @throws InvariantError when it is not
 */
export function invariant(condition: unknown, claim: string): asserts condition {
  if (!condition) throw new InvariantError(`broken: ${claim}`);
}

/** Marks a branch that the types exclude. */
export function unreachable(value: never): never {
  throw new InvariantError(`unreachable: ${JSON.stringify(value)}`);
}
