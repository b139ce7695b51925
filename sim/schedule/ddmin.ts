// Delta debugging: which items of a list does it take? Halves are left out, then quarters, and so on down to single ones;
// what can go without changing the answer stays out. What is left is minimal: no single item of it can go.

/** @param holds whether the answer is the same with these items alone; that of all of them is not asked for */
export async function ddmin<T>(
  items: readonly T[],
  holds: (some: readonly T[]) => Promise<boolean>,
): Promise<readonly T[]> {
  let kept = items;
  let size = kept.length;
  while (kept.length > 0) {
    const before = kept.length;
    for (let from = 0; from < kept.length; ) {
      const rest = [...kept.slice(0, from), ...kept.slice(from + size)];
      if (await holds(rest)) kept = rest;
      else from += size;
    }
    if (size === 1 && kept.length === before) break;
    size = Math.max(1, Math.min(Math.ceil(size / 2), kept.length));
  }
  return kept;
}
