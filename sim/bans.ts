// Ambient time, chance and timers throw while a simulated event runs. Import this file before any product code: a
// library that copies a global at load time then copies the guard. Outside of simulated events the guards pass the
// call on, because the test runner lives in the same process. Each violation is also remembered: product code may
// swallow what a guard throws, the run fails all the same.

import nodeCrypto from 'node:crypto';
import { registerHooks, syncBuiltinESMExports } from 'node:module';

/** Kept before the guards are in place; the loop needs the real one. */
export const realSetImmediate = globalThis.setImmediate;
/** For run.ts, which measures speed outside of simulated events. */
export const realNowMs = globalThis.performance.now.bind(globalThis.performance);

/** Most violations that are remembered; one is enough to fail a run. */
const MAX_VIOLATIONS = 100;

let isSimulating = false;
const violations: string[] = [];

/** Switched by the loop around each event. */
export function setSimulating(value: boolean): void {
  isSimulating = value;
}

/** Names of banned calls made inside simulated events since the last call of this. */
export function takeViolations(): readonly string[] {
  return violations.length === 0 ? violations : violations.splice(0);
}

function refuse(name: string): void {
  if (!isSimulating) return;
  if (violations.length < MAX_VIOLATIONS) violations.push(name);
  throw new TypeError(`${name} is banned in simulated code: use the ports`);
}

type AnyFunction = (...args: unknown[]) => unknown;

function guard(owner: object, key: string, label: string): void {
  const real = (owner as Record<string, unknown>)[key] as AnyFunction;
  const guarded = function (this: unknown, ...args: unknown[]): unknown {
    refuse(label);
    return Reflect.apply(real, this === undefined ? owner : this, args);
  };
  Object.defineProperties(guarded, Object.getOwnPropertyDescriptors(real));
  Object.defineProperty(owner, key, { value: guarded, writable: true, configurable: true });
}

/** xstate notes the date of each delayed event and never reads it back: here it notes 0. It has a clock for time. */
const XSTATE_DATE = 'startedAt: Date.now()';
const XSTATE_NO_DATE = 'startedAt: 0';

function takeDateFromXstate(): void {
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      if (!url.includes('/node_modules/xstate/') || loaded.source == null) return loaded;
      const source = Buffer.from(loaded.source as Uint8Array).toString();
      return { ...loaded, source: source.replaceAll(XSTATE_DATE, XSTATE_NO_DATE) };
    },
  });
}

function guardDate(): void {
  const RealDate = globalThis.Date;
  globalThis.Date = new Proxy(RealDate, {
    construct(target, args, newTarget) {
      if (args.length === 0) refuse('new Date()');
      return Reflect.construct(target, args, newTarget) as object;
    },
    apply(target, self, args) {
      refuse('Date()');
      return Reflect.apply(target, self, args) as string;
    },
    get(target, key, receiver) {
      if (key === 'now') refuse('Date.now');
      return Reflect.get(target, key, receiver) as unknown;
    },
  });
}

const GLOBALS = ['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask'] as const;
const CRYPTO = ['randomBytes', 'randomInt', 'randomUUID', 'randomFillSync'] as const;

function install(): void {
  takeDateFromXstate();
  guardDate();
  for (const key of GLOBALS) guard(globalThis, key, key);
  guard(Math, 'random', 'Math.random');
  guard(globalThis.performance, 'now', 'performance.now');
  guard(globalThis.crypto, 'randomUUID', 'crypto.randomUUID');
  guard(globalThis.crypto, 'getRandomValues', 'crypto.getRandomValues');
  guard(AbortSignal, 'timeout', 'AbortSignal.timeout');
  guard(String.prototype, 'localeCompare', 'localeCompare');
  for (const key of CRYPTO) guard(nodeCrypto, key, `node:crypto ${key}`);
  guard(process.hrtime, 'bigint', 'process.hrtime.bigint');
  syncBuiltinESMExports();
}

install();
