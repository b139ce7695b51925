// For `node --import`: loads files of the product broken, as SIM_MUTANT names it. See source-mutants.ts.

import { registerHooks } from 'node:module';
import { SOURCE_MUTANTS } from './source-mutants.ts';

const name = process.env['SIM_MUTANT'] ?? '';
const mutant = SOURCE_MUTANTS.find((one) => one.name === name);
if (mutant === undefined) throw new RangeError(`no mutant '${name}'`);
const breaks = new Map(
  [mutant, ...(mutant.also ?? [])].map((one) => [
    new URL(`../../${one.file}`, import.meta.url).href,
    one,
  ]),
);

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    const one = breaks.get(url);
    if (one === undefined) return loaded;
    const text = Buffer.from(loaded.source as Uint8Array).toString();
    const pieces = text.split(one.from);
    // A mutant that breaks nothing would be caught by nobody, or by chance.
    if (pieces.length !== 2) throw new RangeError(`${name}: its text is not in ${one.file} once`);
    return { ...loaded, source: pieces.join(one.to) };
  },
});
