import test from 'ava';
import fc from 'fast-check';
import {
  decodeRequest,
  ERRNO,
  emptyRequest,
  encodeErrorChunk,
  encodeRequest,
  encodeText,
  errnoOf,
  MAX_STRING_BYTES,
  readU16,
  readU32,
} from '../../src/nbd/nbd-codec.ts';
import {
  decodeInfoRequest,
  decodeMetaRequest,
  decodeOptionHeader,
  encodeInfoRequest,
  encodeOption,
} from '../../src/nbd/option-codec.ts';

const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffffffff });

test('a request survives packing and unpacking at any place of a chunk', (t) => {
  const request = fc.record({
    flags: u16,
    type: u16,
    cookieHigh: u32,
    cookieLow: u32,
    offset: fc.maxSafeNat(),
    length: u32,
  });
  fc.assert(
    fc.property(request, fc.nat(64), (header, at) => {
      const chunk = new Uint8Array(at + 28);
      chunk.set(encodeRequest(header), at);
      const back = emptyRequest();
      t.true(decodeRequest(chunk, at, back));
      t.deepEqual(back, header);
    }),
  );
});

test('bytes without the magic number are no request', (t) => {
  const bytes = fc.uint8Array({ minLength: 28, maxLength: 28 });
  fc.assert(
    fc.property(bytes, (chunk) => {
      fc.pre(readU32(chunk, 0) !== 0x25609513);
      t.false(decodeRequest(chunk, 0, emptyRequest()));
    }),
  );
});

test('GO data survives packing and unpacking', (t) => {
  const name = fc.string({ unit: 'grapheme', maxLength: 100 });
  fc.assert(
    fc.property(name, fc.array(u16, { maxLength: 20 }), (text, infos) => {
      t.deepEqual(decodeInfoRequest(encodeInfoRequest(text, infos)), { name: text, infos });
    }),
  );
});

// Method: any bytes, and well-formed ones cut or changed at one place. Decoders must answer, never throw or hang.
test('garbage as option data is refused or read, never an exception', (t) => {
  const base = encodeInfoRequest('volume', [1, 2, 3]);
  const changed = fc
    .tuple(fc.nat(base.length - 1), fc.nat(255), fc.nat(base.length))
    .map((edit) => {
      const bytes = base.slice(0, edit[2]);
      if (edit[0] < bytes.length) bytes[edit[0]] = edit[1];
      return bytes;
    });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), changed), (data) => {
      for (const result of [decodeInfoRequest(data), decodeMetaRequest(data)]) {
        t.true(typeof result === 'string' || typeof result.name === 'string');
      }
      if (data.length >= 16) decodeOptionHeader(data);
    }),
  );
});

test('a string above 4096 bytes is too big, whatever follows', (t) => {
  t.is(decodeInfoRequest(Uint8Array.of(0, 0, 0x10, 1)), 'too-big');
  t.is(decodeMetaRequest(Uint8Array.of(0xff, 0xff, 0xff, 0xff)), 'too-big');
});

test('an option header survives packing and unpacking', (t) => {
  fc.assert(
    fc.property(u32, fc.uint8Array({ maxLength: 64 }), (option, data) => {
      t.deepEqual(decodeOptionHeader(encodeOption(option, data)), { option, length: data.length });
    }),
  );
});

test('a text is cut at 4096 bytes and never inside a character', (t) => {
  const bytes = encodeText('ü'.repeat(5000));
  t.is(bytes.length, MAX_STRING_BYTES);
  t.is(new TextDecoder('utf-8', { fatal: true }).decode(bytes).length, 2048);
  const odd = encodeText(`x${'ü'.repeat(5000)}`);
  t.is(odd.length, MAX_STRING_BYTES - 1);
});

test('an error chunk carries number and text', (t) => {
  const chunk = encodeErrorChunk({ cookieHigh: 7, cookieLow: 9 }, ERRNO.ENOSPC, 'full');
  t.is(readU16(chunk, 4), 1, 'DONE');
  t.is(readU32(chunk, 8), 7);
  t.is(readU32(chunk, 12), 9);
  t.is(readU32(chunk, 16), chunk.length - 20);
  t.is(readU32(chunk, 20), ERRNO.ENOSPC);
  t.is(new TextDecoder().decode(chunk.subarray(26)), 'full');
});

test('operating errors become the error numbers that a guest understands', (t) => {
  t.is(errnoOf('held'), ERRNO.EPERM);
  for (const code of ['fenced', 'io', 'corrupt', 'gone', 'timeout'] as const) {
    t.is(errnoOf(code), ERRNO.EIO, code);
  }
  t.is(errnoOf('no-space'), ERRNO.ENOSPC);
  t.is(errnoOf('shutting-down'), ERRNO.ESHUTDOWN);
  t.is(errnoOf('usage'), ERRNO.EINVAL);
  t.is(errnoOf('too-large'), ERRNO.EOVERFLOW);
  t.is(errnoOf('unsupported'), ERRNO.ENOTSUP);
});
