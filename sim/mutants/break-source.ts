// For `node --import`: loads one file of the product broken, as SIM_MUTANT names it. See source-mutants.ts.

import { registerHooks } from 'node:module';
import { SOURCE_MUTANTS } from './source-mutants.ts';

const name = process.env['SIM_MUTANT'] ?? '';
const mutant = SOURCE_MUTANTS.find((one) => one.name === name);
if (mutant === undefined) throw new RangeError(`no mutant '${name}'`);
const broken = new URL(`../../${mutant.file}`, import.meta.url).href;

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    if (url !== broken) return loaded;
    const text = Buffer.from(loaded.source as Uint8Array).toString();
    const pieces = text.split(mutant.from);
    // A mutant that breaks nothing would be caught by nobody, or by chance.
    if (pieces.length !== 2)
      throw new RangeError(`${name}: its text is not in ${mutant.file} once`);
    return { ...loaded, source: pieces.join(mutant.to) };
  },
});
