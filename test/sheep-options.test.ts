import test from 'ava';
import { hasCode } from '../src/core/errors.ts';
import { encodeToken } from '../src/core/token.ts';
import { MIB } from '../src/core/units.ts';
import { HELP, parseSheepFlags, type SheepOptions } from '../src/sheep-options.ts';
import { CLUSTER_ID } from './fixtures.ts';

function optionsOf(...argv: string[]): SheepOptions {
  const command = parseSheepFlags(['--data', '/d', ...argv], 'host-1');
  if (command.kind !== 'run') throw new RangeError(`it is ${command.kind}`);
  return command.options;
}

test('sheep-options: a directory is enough; the rest has defaults that help names', (t) => {
  const options = optionsOf();
  t.is(options.data, '/d');
  t.is(options.listen, '/ip4/127.0.0.1/tcp/7001');
  t.true(HELP.includes(options.listen));
  t.is(options.config.zone, 'host-1', 'hosts are zones unless it is said otherwise');
  t.is(options.config.journalBytes, 256 * MIB);
  t.deepEqual(options.nbd, []);
  t.is(options.api.length, 1);
  t.is(options.joinToken, undefined);
});

test('sheep-options: --replace is asked for', (t) => {
  t.false(optionsOf().isReplacement);
  t.true(optionsOf('--replace').isReplacement);
});

test('sheep-options: every flag arrives where it is used', (t) => {
  const joinToken = encodeToken({
    clusterId: CLUSTER_ID,
    addresses: ['/a'],
    inviteId: 'i',
    secret: 's',
  });
  const options = optionsOf(
    ...['--listen', '/ip4/10.0.0.1/tcp/9'],
    ...['--zone', 'rack-1', '--weight', '0', '--journal', '64MiB', '--data-tls', 'always'],
    ...['--nearfull', '0.7', '--full', '0.8'],
    ...['--scrub-light', '12h', '--scrub-deep', 'never', '--scrub-rate', '8MiB'],
    ...['--nbd', 'unix:/run/nbd.sock', '--nbd', 'tcp-plain:127.0.0.1:10809'],
    ...['--api', '127.0.0.1:7000', '--join', joinToken, '--quiet'],
  );
  t.is(options.listen, '/ip4/10.0.0.1/tcp/9');
  const config = {
    zone: 'rack-1',
    weight: 0,
    isWitness: false,
    isInspected: false,
    isRecoveryEnabled: true,
    mapLog: {},
    journalBytes: 64 * MIB,
    scrubLightMs: 12 * 3_600_000,
    scrubDeepMs: Number.POSITIVE_INFINITY,
    scrubBytesPerSecond: 8 * MIB,
    dataTls: 'always',
    nearfull: 0.7,
    full: 0.8,
  };
  t.deepEqual(options.config, config as never);
  t.is(options.nbd.length, 2);
  t.is(options.api.length, 1, 'the default one is not added');
  t.is(options.joinToken, joinToken);
  t.true(options.isQuiet);
});

test('sheep-options: TLS over TCP comes with keys or certificates, and with rights', (t) => {
  const options = optionsOf(
    ...['--nbd', 'tcp:0.0.0.0:10809', '--nbd-psk', '/k', '--nbd-certs', '/x', '--nbd-access', '/a'],
  );
  t.deepEqual(options.nbd, [{ kind: 'tcp', host: '0.0.0.0', port: 10809 }]);
  t.deepEqual(options.nbdTls, { keys: '/k', x509: '/x', access: '/a' });
  t.is(optionsOf('--nbd', 'tcp-plain:127.0.0.1:1').nbdTls, undefined);
});

test('sheep-options: help and version need nothing else, and win', (t) => {
  t.is(parseSheepFlags(['--help'], 'h').kind, 'help');
  t.is(parseSheepFlags(['-h', '--version'], 'h').kind, 'help');
  t.is(parseSheepFlags(['--version'], 'h').kind, 'version');
  t.is(parseSheepFlags(['--data', '/d', '--print-config'], 'h').kind, 'print-config');
});

test('sheep-options: help names no flag that is unknown', (t) => {
  const flags = new Set(HELP.match(/--[a-z][a-z-]*/g));
  t.true(flags.size > 10);
  for (const flag of flags) {
    const error = t.throws(() => parseSheepFlags([flag, '--stray-flag'], 'h'));
    t.false(error?.message.includes(`Unknown option '${flag}'`), error?.message);
  }
});

test('sheep-options: what is not meant is refused as wrong usage', (t) => {
  const wrong = [
    [],
    ['--data', ''],
    ['--data', '/d', 'stray'],
    ['--data', '/d', '--no-such-flag'],
    ['--data', '/d', '--weight', ''],
    ['--data', '/d', '--weight', ' 1'],
    ['--data', '/d', '--weight', '0x10'],
    ['--data', '/d', '--weight', '1e1'],
    ['--data', '/d', '--weight', '1000'],
    ['--data', '/d', '--zone', 'a b'],
    ['--data', '/d', '--journal', '1KiB'],
    ['--data', '/d', '--data-tls', 'perhaps'],
    ['--data', '/d', '--join', 'sheep1.half'],
    ['--data', '/d', '--nbd', 'tcp-plain:10.0.0.1:10809', '--nbd-psk', '/k'],
    ['--data', '/d', '--nbd', 'tcp:10.0.0.1:10809'],
    ['--data', '/d', '--nbd', 'unix:/s', '--nbd-psk', '/k'],
    ['--data', '/d', '--nbd-access', '/a'],
    ['--data', '/d', '--nbd', 'tcp:127.0.0.1:1', '--nbd-access', '/a'],
  ];
  for (const argv of wrong) {
    t.true(
      hasCode(
        t.throws(() => parseSheepFlags(argv, 'h')),
        'usage',
      ),
      argv.join(' '),
    );
  }
});

test('sheep-options: a witness holds no data and serves no guest', (t) => {
  const command = parseSheepFlags(['--data', 'd', '--witness'], 'host');
  if (command.kind !== 'run') return t.fail();
  t.like(command.options.config, { isWitness: true, weight: 0 });
  for (const more of [
    ['--weight', '1'],
    ['--nbd', 'unix:/tmp/x'],
  ]) {
    const error = t.throws(() => parseSheepFlags(['--data', 'd', '--witness', ...more], 'host'));
    t.true(hasCode(error, 'usage'), more.join(' '));
  }
});
