// Puts shared-states.ts in the place of core/cluster-state.ts wherever the product imports it. Imported before any
// product code, in processes that run clusters of hundreds.

import { registerHooks } from 'node:module';

const PRODUCT = new URL('../src/', import.meta.url).href;
const REAL = new URL('../src/core/cluster-state.ts', import.meta.url).href;
const SHARED = new URL('shared-states.ts', import.meta.url).href;

registerHooks({
  resolve(specifier, context, next) {
    const found = next(specifier, context);
    const isProduct = context.parentURL?.startsWith(PRODUCT) === true;
    return isProduct && found.url === REAL ? { ...found, url: SHARED } : found;
  },
});
