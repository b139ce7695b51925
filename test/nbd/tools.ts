// Programs from elsewhere that judge us. A test whose program is missing is skipped with the reason in its name; with
// CI=true it fails instead: a skip that nobody expected is a failure.

import { spawn, spawnSync } from 'node:child_process';
import test, { type ExecutionContext } from 'ava';

/** Program -> Debian package. */
const PACKAGES: Readonly<Record<string, string>> = {
  nbdinfo: 'libnbd-bin',
  nbdcopy: 'libnbd-bin',
  nbddump: 'libnbd-bin',
  nbdsh: 'python3-libnbd',
  'nbd-client': 'nbd-client',
  'qemu-nbd': 'qemu-utils',
  psktool: 'gnutls-bin',
  certtool: 'gnutls-bin',
  nbdkit: 'nbdkit',
  'qemu-img': 'qemu-utils',
  'qemu-io': 'qemu-utils',
  fio: 'fio',
  busybox: 'busybox-static',
  cpio: 'cpio',
  'qemu-system-x86_64': 'qemu-system-x86',
  'virt-xml-validate': 'libvirt-clients',
  xmllint: 'libxml2-utils',
  ip: 'iproute2',
  ss: 'iproute2',
  strace: 'strace',
};
/** nbdsh must find Debian's python; /usr/sbin has nbd-client. */
const PATH = `/usr/bin:${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
const TOOL_TIMEOUT_MS = 100_000;
/** Of each stream; what is more is dropped. */
const MAX_OUTPUT_CHARACTERS = 1_000_000;

type Body = (t: ExecutionContext) => Promise<void>;

function isInstalled(tool: string): boolean {
  const found = spawnSync('sh', ['-c', `command -v ${tool}`], { env: { ...process.env, PATH } });
  return found.status === 0;
}

/** Which of the named programs are missing, and the cure; empty when none is. */
export function missingTools(...tools: string[]): string {
  return tools
    .filter((tool) => !isInstalled(tool))
    .map((tool) => `${tool} is missing: apt-get install ${PACKAGES[tool] ?? tool}`)
    .join('; ');
}

/** `toolOrSkip('fio')('promise', async (t) => ...)` declares a test that runs where all named programs are. */
export function toolOrSkip(...tools: string[]): (title: string, body: Body) => void {
  return declareUnless(missingTools(...tools));
}

/** Declares a test that runs when `reason` is empty; else it is skipped, and with CI=true fails unless expected. */
export function declareUnless(
  reason: string,
  skip: 'expected' | 'unexpected' = 'unexpected',
): (title: string, body: Body) => void {
  if (reason === '') return (title, body) => test.serial(title, body);
  if (process.env['CI'] === 'true' && skip === 'unexpected') {
    return (title) => test(title, (t) => t.fail(reason));
  }
  return (title, body) => test.skip(`${title} [skipped: ${reason}]`, body);
}

export interface ToolResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end; killed after TOOL_TIMEOUT_MS (code null). Never rejects for an exit code. */
export function run(
  program: string,
  args: readonly string[],
  options: { cwd?: string; timeoutMs?: number; env?: NodeJS.ProcessEnv } = {},
): Promise<ToolResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env, PATH },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: options.timeoutMs ?? TOOL_TIMEOUT_MS,
      killSignal: 'SIGKILL',
    });
    const texts = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr'] as const) {
      child[stream].setEncoding('utf8').on('data', (text: string) => {
        if (texts[stream].length < MAX_OUTPUT_CHARACTERS) texts[stream] += text;
      });
    }
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, ...texts }));
  });
}

/** Runs a program that has to succeed; its output goes into the failure. */
export async function succeed(
  t: ExecutionContext,
  program: string,
  args: readonly string[],
  options: { cwd?: string; timeoutMs?: number } = {},
): Promise<ToolResult> {
  const result = await run(program, args, options);
  t.is(result.code, 0, `${program} ${args.join(' ')}\n${result.stdout}\n${result.stderr}`);
  return result;
}
