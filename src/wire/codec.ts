// Small codecs that combine into large ones, with their TypeScript types inferred. Every text, list and byte field has
// a bound that both sides check; every union has fixed tag numbers; every top-level message starts with a version.
// Decoding rejects, never guesses: unknown versions and tags, too much, too little and trailing bytes are 'bad-frame'.

import { invariant } from '../core/invariant.ts';
import { badFrame, Reader, Writer } from './bytes.ts';

/** How one kind of value becomes bytes and back. `read` throws 'bad-frame' only. */
export interface Codec<T> {
  readonly write: (writer: Writer, value: T) => void;
  readonly read: (reader: Reader) => T;
}

/** A codec of some type: what a record of codecs holds. */
export interface SomeCodec {
  readonly write: (writer: Writer, value: never) => void;
  readonly read: (reader: Reader) => unknown;
}

/** The type of the values of a codec. */
export type Coded<C extends SomeCodec> = ReturnType<C['read']>;

export const u8: Codec<number> = { write: (w, v) => w.u8(v), read: (r) => r.u8() };
export const u16: Codec<number> = { write: (w, v) => w.u16(v), read: (r) => r.u16() };
export const u32: Codec<number> = { write: (w, v) => w.u32(v), read: (r) => r.u32() };
export const u48: Codec<number> = { write: (w, v) => w.u48(v), read: (r) => r.u48() };

export const bool: Codec<boolean> = {
  write: (w, v) => w.u8(v ? 1 : 0),
  read: (r) => {
    const value = r.u8();
    if (value > 1) throw badFrame(`${value} is no boolean`);
    return value === 1;
  },
};

/** UTF-8 of at most `maxBytes`. */
export function str(maxBytes: number): Codec<string> {
  return { write: (w, v) => w.text(v, maxBytes), read: (r) => r.text(maxBytes) };
}

/** At most `maxBytes`; what is read is a view of the message. */
export function bytes(maxBytes: number): Codec<Uint8Array> {
  return { write: (w, v) => w.bytes(v, maxBytes), read: (r) => r.bytes(maxBytes) };
}

/** The same bytes under a branded type. */
export function branded<T extends number | string>(
  codec: Codec<T extends number ? number : string>,
): Codec<T> {
  return codec as unknown as Codec<T>;
}

/** One text of a fixed set, as its place in the set (u8). Append only: places are on the wire. */
export function choice<const T extends string>(names: readonly T[]): Codec<T> {
  invariant(names.length <= 256, 'a choice fits into a byte');
  return {
    write: (w, v) => {
      const at = names.indexOf(v);
      invariant(at >= 0, `${v} is one of ${names.join()}`);
      w.u8(at);
    },
    read: (r) => {
      const at = r.u8();
      const name = names[at];
      if (name === undefined) throw badFrame(`unknown choice ${at}`);
      return name;
    },
  };
}

/** At most `maxCount` elements. Grows as elements are read, so a lying count allocates nothing. */
export function list<T>(element: Codec<T>, maxCount: number): Codec<readonly T[]> {
  return {
    write: (w, values) => {
      invariant(values.length <= maxCount, `${values.length} elements fit into ${maxCount}`);
      w.u32(values.length);
      for (const value of values) element.write(w, value);
    },
    read: (r) => {
      const count = r.u32();
      // Each element takes at least one byte.
      if (count > maxCount || count > r.remaining) throw badFrame(`a list of ${count}`);
      const values: T[] = [];
      for (let at = 0; at < count; at += 1) values.push(element.read(r));
      return values;
    },
  };
}

/** The object type of a record of codecs. */
export type StructOf<F extends Record<string, SomeCodec>> = {
  readonly [K in keyof F]: Coded<F[K]>;
};

/** Fields in the order in which they are written here. */
export function struct<F extends Record<string, SomeCodec>>(fields: F): Codec<StructOf<F>> {
  const names = Object.keys(fields);
  const codecs = Object.values(fields) as unknown as Codec<unknown>[];
  return {
    write: (w, value) => {
      const record = value as Readonly<Record<string, unknown>>;
      for (const [at, name] of names.entries()) codecs[at]?.write(w, record[name]);
    },
    read: (r) => {
      const record: Record<string, unknown> = {};
      for (const [at, name] of names.entries()) record[name] = codecs[at]?.read(r);
      return record as StructOf<F>;
    },
  };
}

/** A case of a union: its number on the wire, for ever, and its other fields. */
export interface UnionCase<C extends SomeCodec> {
  readonly tag: number;
  readonly codec: C;
  /** Of bytes that were written before it grew. */
  readonly former?: {
    readonly tag: number;
    readonly codec: SomeCodec;
    readonly later: Readonly<Record<string, unknown>>;
  };
}

/** Names a case of a union. */
export function variant<C extends SomeCodec>(tag: number, codec: C): UnionCase<C> {
  return { tag, codec };
}

/** A case with more fields than it had under its former tag: bytes of that are read with `later` in their place. */
export function grownVariant<C extends SomeCodec, O extends SomeCodec>(
  tag: number,
  codec: C,
  former: {
    readonly tag: number;
    readonly codec: O;
    readonly later: Readonly<Record<string, unknown>>;
  },
): UnionCase<C> {
  return { tag, codec, former };
}

/** The discriminated union type of a record of cases. */
export type UnionOf<D extends string, C extends Record<string, UnionCase<SomeCodec>>> = {
  [K in keyof C & string]: { readonly [P in D]: K } & Coded<C[K]['codec']>;
}[keyof C & string];

/** Cases told apart by the text field `discriminant`; one byte of tag, then the case's fields. */
export function union<D extends string, C extends Record<string, UnionCase<SomeCodec>>>(
  discriminant: D,
  cases: C,
): Codec<UnionOf<D, C>> {
  const byTag = new Map<number, readonly [string, (r: Reader) => Record<string, unknown>]>();
  const add = (tag: number, name: string, read: (r: Reader) => Record<string, unknown>): void => {
    invariant(!byTag.has(tag), `tag ${tag} names one case`);
    byTag.set(tag, [name, read]);
  };
  for (const [name, { tag, codec, former }] of Object.entries(cases)) {
    const known = codec as unknown as Codec<Record<string, unknown>>;
    add(tag, name, (r) => known.read(r));
    if (former === undefined) continue;
    const old = former.codec as unknown as Codec<Record<string, unknown>>;
    add(former.tag, name, (r) => ({ ...old.read(r), ...former.later }));
  }
  return {
    write: (w, value) => {
      const name = (value as Readonly<Record<string, string>>)[discriminant] as string;
      const found = cases[name];
      invariant(found !== undefined, `${name} is a case of ${discriminant}`);
      w.u8(found.tag);
      found.codec.write(w, value as never);
    },
    read: (r) => {
      const tag = r.u8();
      const found = byTag.get(tag);
      if (found === undefined) throw badFrame(`unknown ${discriminant} ${tag}`);
      return { [discriminant]: found[0], ...found[1](r) } as UnionOf<D, C>;
    },
  };
}

/** A value behind its version byte; another version is refused. */
export function versioned<T>(version: number, codec: Codec<T>): Codec<T> {
  return {
    write: (w, value) => {
      w.u8(version);
      codec.write(w, value);
    },
    read: (r) => {
      const found = r.u8();
      if (found !== version) throw badFrame(`version ${found} where ${version} is known`);
      return codec.read(r);
    },
  };
}

/** Bytes of one value. */
export function encode<T>(codec: Codec<T>, value: T): Uint8Array {
  const writer = new Writer();
  codec.write(writer, value);
  return writer.finish();
}

/** The value whose bytes these are, all of them. Throws 'bad-frame'. */
export function decode<T>(codec: Codec<T>, bytes: Uint8Array): T {
  const reader = new Reader(bytes);
  const value = codec.read(reader);
  reader.end();
  return value;
}
