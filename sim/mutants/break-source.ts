// For `node --import`: loads files of the product broken, as SIM_MUTANT names it. See source-mutants.ts.

import { registerHooks } from 'node:module';
import { SOURCE_MUTANTS } from './source-mutants.ts';

const name = process.env['SIM_MUTANT'] ?? '';
const mutant = SOURCE_MUTANTS.find((one) => one.name === name);
if (mutant === undefined) throw new RangeError(`no mutant '${name}'`);
const breaks = Map.groupBy(
  [mutant, ...(mutant.also ?? [])],
  (one) => new URL(`../../${one.file}`, import.meta.url).href,
);

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    const ours = breaks.get(url);
    if (ours === undefined) return loaded;
    let source = Buffer.from(loaded.source as Uint8Array).toString();
    for (const { from, to, file } of ours) {
      const pieces = source.split(from);
      // A mutant that breaks nothing would be caught by nobody, or by chance.
      if (pieces.length !== 2) throw new RangeError(`${name}: its text is not in ${file} once`);
      source = pieces.join(to);
    }
    return { ...loaded, source };
  },
});
