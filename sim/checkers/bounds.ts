// C-bounded, what can be seen from outside: timers of a process, links that stay open, the store's space.

/** What a stage can count at one instant. */
export interface Bounded {
  readonly name: string;
  readonly timerCount: number;
  readonly usedBytes: number;
  readonly capacityBytes: number;
}

/** Far above what a node of a small cluster needs; a leak passes it soon. */
const MAX_TIMERS_PER_NODE = 5000;
const MAX_PIPES_PER_NODE = 200;

/** @returns the first bound that is broken, as a sentence */
export function checkBounds(nodes: readonly Bounded[], pipeCount: number): string | undefined {
  for (const node of nodes) {
    if (node.timerCount > MAX_TIMERS_PER_NODE)
      return `C-bounded: ${node.name} has ${node.timerCount} timers`;
    if (node.usedBytes > node.capacityBytes)
      return `C-bounded: ${node.name} uses more than its disk`;
  }
  if (pipeCount <= MAX_PIPES_PER_NODE * Math.max(1, nodes.length)) return undefined;
  return `C-bounded: ${pipeCount} channels and links are open`;
}
