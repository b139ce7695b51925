// One line of a micro-benchmark: rate and CPU per operation.

export interface Counted {
  readonly operations: number;
  readonly ms: number;
  /** Of all processes that took part. */
  readonly cpuUs: number;
}

export function say(name: string, { operations, ms, cpuUs }: Counted): void {
  const rate = Math.round((operations * 1000) / ms).toLocaleString('en');
  const cpu = (cpuUs / operations).toFixed(2);
  process.stdout.write(
    `${name.padEnd(64)} ${rate.padStart(12)}/s ${cpu.padStart(9)} us CPU each\n`,
  );
}

/** User and system time of this process since `before`, in us. */
export function cpuUs(before?: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before);
  return user + system;
}
