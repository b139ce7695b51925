// TLS in front of a real node: guests with keys, rights by name, and what an operator is told who mixes up the options.

import fs from 'node:fs';
import path from 'node:path';
import { addKey, makeAuthority, makeCertificate } from '../nbd/tls-files.ts';
import { run, succeed, toolOrSkip } from '../nbd/tools.ts';
import { freePort } from './ports.ts';
import { endOf, withHosts } from './with-hosts.ts';

const EXIT_USAGE = 64;

toolOrSkip(
  'nbdinfo',
  'qemu-io',
  'psktool',
  'certtool',
)(
  'TLS on TCP: keys and certificates open what the rights allow, and nothing else',
  withHosts(async (t, hosts) => {
    const files = path.join(hosts.dir, 'tls');
    makeAuthority(files);
    makeCertificate(files, 'server', 'localhost');
    makeCertificate(files, 'client', 'tenant-a');
    addKey(files, 'qemu');
    const [keys, access] = ['keys.psk', 'access'].map((file) => path.join(files, file)) as [
      string,
      string,
    ];
    fs.writeFileSync(access, 'qemu *\ntenant-a web*\n');
    const port = await freePort();
    const tls = ['--nbd', `tcp:127.0.0.1:${port}`, '--nbd-psk', keys, '--nbd-certs', files];
    const sheep = hosts.make();

    t.is(await endOf(sheep, '--nbd', `tcp:127.0.0.1:${port}`), EXIT_USAGE);
    t.regex(sheep.log, /--nbd tcp: is served with TLS, and nothing says who may come/);
    t.is(await endOf(sheep, '--nbd', `tcp:127.0.0.1:${port}`, '--nbd-psk', '/nowhere'), EXIT_USAGE);
    t.regex(sheep.log, /can not read \/nowhere/);

    await sheep.start(...tls, '--nbd-access', access);
    await sheep.must('cluster', 'format', '-c', '1', '--partitions', '64');
    await sheep.up();
    for (const name of ['web1', 'db1']) await sheep.must('vdi', 'create', name, '64MiB');

    const byKey = (name: string) => `nbds://qemu@127.0.0.1:${port}/${name}?tls-psk-file=${keys}`;
    const byCertificate = (name: string) =>
      `nbds://127.0.0.1:${port}/${name}?tls-certificates=${files}`;
    await succeed(t, 'nbdinfo', [byKey('db1')]);
    await succeed(t, 'nbdinfo', [byCertificate('web1')]);
    t.not((await run('nbdinfo', [byCertificate('db1')])).code, 0);
    t.not((await run('nbdinfo', [`nbd://127.0.0.1:${port}/web1`])).code, 0);
    const list = await succeed(t, 'nbdinfo', ['--list', '--json', byCertificate('')]);
    const names = JSON.parse(list.stdout).exports.map(
      (one: Record<string, string>) => one['export-name'],
    );
    t.deepEqual(names, ['web1']);

    const secret = ['--object', `tls-creds-psk,id=t,endpoint=client,dir=${files},username=qemu`];
    const image = `driver=nbd,host=127.0.0.1,port=${port},export=db1,tls-creds=t`;
    const steps = ['write -P 0x5a 3M 2M', 'flush', 'read -P 0x5a 3M 2M', 'read -P 0 0 64k'];
    const commands = steps.flatMap((one) => ['-c', one]);
    await succeed(t, 'qemu-io', [...secret, ...commands, '--image-opts', image]);
    const plain = `nbd+unix:///db1?socket=${sheep.nbd}`;
    await succeed(t, 'qemu-io', ['-f', 'raw', '-c', 'read -P 0x5a 3M 2M', plain]);
    t.regex(sheep.log, /"nbd.attached","volume":"db1","client":"qemu"/);
  }),
);
