// Random choices of soaks, each of them by a seed that is told, so that a run can be had again.

/** `draw(below)`: a whole number from 0 on, below it. */
export type Draw = (below: number) => number;

export function drawsOf(seed: number): Draw {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
